"""Prompts of unlike length, shared beginnings, and samples that leave a batch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from coin_lightning.backbones import greedy, row_cache, tiny
from coin_lightning.backbones.greedy import Greedy, Prompts, in_parts, shared_beginnings

IMAGE = 9
END = 2


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def test_prompts_are_padded_on_the_right_wherever_their_tokens_stood():
    ids = torch.tensor([[0, 0, 5, 6, 7], [8, 0, 0, 3, 4], [1, 2, 3, 4, 5]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 1]])
    positions = torch.arange(15).view(3, 5) + 100
    prompts = Prompts.of(ids, mask, positions)
    assert prompts.lengths.tolist() == [3, 3, 5]
    assert prompts.ids[0, :3].tolist() == [5, 6, 7]
    assert prompts.ids[1, :3].tolist() == [8, 3, 4]
    assert prompts.positions[1, :3].tolist() == [105, 108, 109]
    assert prompts.real.long().sum(dim=1).tolist() == [3, 3, 5]
    assert prompts.next_positions().tolist() == [105, 110, 115]


def test_positions_of_several_kinds_go_along():
    ids, mask = padded([[5, 6], [7, 8, 9]])
    positions = torch.stack([torch.arange(6).view(2, 3), 10 * torch.arange(6).view(2, 3)])
    prompts = Prompts.of(ids, mask, positions)
    assert prompts.positions[:, 0, :2].tolist() == [[1, 2], [10, 20]]
    part = prompts.part(torch.tensor([1, 0]), torch.tensor([1, 0]), torch.tensor([3, 2]))
    assert part.ids.tolist() == [[8, 9], [5, 6]]
    assert part.positions.tolist() == [[[4, 5], [1, 2]], [[40, 50], [10, 20]]]
    assert part.next_positions().tolist() == [[6, 3], [51, 21]]


def shared_of(rows: list[list[int]], same: list[int], **options: float):
    return shared_beginnings(Prompts.of(*padded(rows)), same, IMAGE, **options)


def test_samples_with_the_same_images_share_what_they_begin_with():
    rows = [[1, IMAGE, IMAGE, 4, 5, 6], [1, IMAGE, IMAGE, 4, 7], [1, IMAGE, IMAGE, 4, 5, 6]]
    found = shared_of(rows, [3, 3, 8])
    assert found is None  # 13 of 17 tokens would be left: more than seven tenths
    found = shared_of(rows, [3, 3, 8], worth=1.0)
    assert (found.first.tolist(), found.group.tolist(), found.lengths.tolist()) == ([0, 2], [0, 0, 1], [4, 5])
    found = shared_of(rows, [3, 3, 3])
    assert (found.first.tolist(), found.group.tolist(), found.lengths.tolist()) == ([0], [0, 0, 0], [4])


def test_of_equal_questions_the_last_token_is_computed_for_each():
    found = shared_of([[1, IMAGE, 4]] * 4, [0, 0, 0, 0])
    assert found.lengths.tolist() == [2]


def test_nothing_is_shared_where_an_image_comes_behind_what_differs():
    assert shared_of([[1, 4, IMAGE, 6]] * 2 + [[1, 5, IMAGE, 6]], [0, 0, 0], worth=1.0) is None
    assert shared_of([[5], [5]], [0, 0], worth=1.0) is None  # nothing is left to share


def NO_IMAGES(samples: object) -> dict[str, object]:
    return {}


class Planned:
    """A head that says planned tokens, sample by sample of the batch as it then is."""

    def __init__(self, *steps: list[int]) -> None:
        self.steps, self.sizes = list(steps), []

    def __call__(self, states: Tensor) -> Tensor:
        self.sizes.append(len(states))
        return torch.nn.functional.one_hot(torch.tensor(self.steps.pop(0)), 300).float().unsqueeze(1)


def answered(head: Planned, limit: int, leaves: bool) -> tuple[list[list[int]], list[list[list[int]]]]:
    backbone = tiny.load()
    passes: list[list[list[int]]] = []
    loop = Greedy(
        backbone.core,
        head,
        len(backbone.language_model.layers),
        {END},
        lambda real: passes.append(real.tolist()),
        leaves,
    )
    ids, mask = padded([[40, 41], [42], [43, 44, 45], [46, 47]])
    return loop(Prompts.of(ids, mask), limit, NO_IMAGES), passes


def test_samples_that_have_ended_leave_the_batch():
    head = Planned([50, END, END, 51], [52, 53], [END, 54])
    answers, passes = answered(head, 3, leaves=True)
    assert answers == [[50, 52, END], [END], [END], [51, 53, 54]]
    assert head.sizes == [4, 2, 2]
    assert passes == [[[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]], [[1], [1]], [[1], [1]]]


def test_a_batch_that_may_not_change_keeps_them_and_counts_them_no_more():
    head = Planned([50, END, END, 51], [52, 9, 9, 53], [END, 9, 9, 54])
    answers, passes = answered(head, 3, leaves=False)
    assert answers == [[50, 52, END], [END], [END], [51, 53, 54]]
    assert head.sizes == [4, 4, 4]
    assert passes[1:] == [[[1], [0], [0], [1]]] * 2


def test_what_one_sample_sees_does_not_depend_on_those_that_left():
    """Answers of one token and of many in one batch are those of each sample alone."""
    backbone = tiny.load(max_length=256)
    rows = [[40 + at, *range(50, 50 + at)] for at in range(6)]
    limit = 12
    loop = Greedy(backbone.core, backbone.model.lm_head, len(backbone.language_model.layers), {END})
    together = loop(Prompts.of(*padded(rows)), limit, NO_IMAGES)
    alone = [loop(Prompts.of(*padded([row])), limit, NO_IMAGES)[0] for row in rows]
    assert together == alone


def test_long_answers_take_room_as_they_come(monkeypatch: pytest.MonkeyPatch):
    """A limit that no answer reaches takes no memory, and one that is reached changes no answer."""
    prompts = Prompts.of(*padded([[40, 41], [42, 43, 44, 45]]))
    made: list[int] = []
    widths = iter([1024, 3])

    def answers(limit: int) -> list[list[int]]:
        backbone = tiny.load(max_length=256)
        monkeypatch.setattr(
            greedy, "RowCache", lambda layers, width: made.append(width) or row_cache.RowCache(layers, width)
        )
        monkeypatch.setattr(greedy, "ROOM", room := next(widths))
        monkeypatch.setattr(row_cache, "ROOM", room)
        layers = len(backbone.language_model.layers)
        return Greedy(backbone.core, backbone.model.lm_head, layers, set())(prompts, limit, NO_IMAGES)

    whole, growing = answers(20), answers(20)
    assert [len(answer) for answer in whole] == [20, 20]
    assert growing == whole
    assert made == [4 + 20, 4 + 3]


def test_prompts_are_read_in_parts_of_like_length():
    assert in_parts([3, 9, 4, 8, 2], 18) == [[1, 3], [2, 0, 4]]  # 9 + 9 and 4 + 4 + 4 with what pads them
    assert in_parts([30, 1], 18) == [[0], [1]]  # one that is longer is read all the same
    assert in_parts([3, 9], None) == [[0, 1]]


def read(prompts: Prompts, shared: Any, tokens: int | None) -> tuple[list[list[int]], list[Tensor]]:
    backbone = tiny.load(max_length=256)
    passes: list[Tensor] = []
    layers = len(backbone.language_model.layers)
    loop = Greedy(backbone.core, backbone.model.lm_head, layers, {END}, passes.append, True, tokens)
    return loop(prompts, 8, NO_IMAGES, shared), passes


@pytest.mark.parametrize("shares", [False, True])
def test_parts_change_no_answer_and_count_every_token_once(shares: bool):
    rows = [[7, 8, 40 + at % 3, *range(50, 50 + 3 * (at % 4)), 60 + at] for at in range(9)]
    prompts = Prompts.of(*padded(rows))
    same = [at % 3 for at in range(9)]
    shared = shared_beginnings(prompts, same, IMAGE, worth=1.0) if shares else None
    answers, passes = zip(*(read(prompts, shared, tokens) for tokens in (None, 1, 8)), strict=True)
    assert answers[0] == answers[1] == answers[2]
    assert len({sum(int(real.sum()) for real in each) for each in passes}) == 1
    whole, single, some = (sum(real.shape[1] > 1 for real in each) for each in passes)
    assert whole < some < single
