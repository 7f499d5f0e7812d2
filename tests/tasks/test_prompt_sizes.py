"""Sizes of prompts against rendering each row, for every prompt and for one that changes texts."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from coin_lightning.backbones import tiny
from coin_lightning.backbones.prompts import FORMATS, PromptFormat, Rendered, Turn
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.prompt_sizes import BOX_GROWTH, PromptSizes
from coin_lightning.tasks.rows import read_test, read_train


@pytest.fixture
def rows(tmp_path: Path):
    """Thirty conversations of one to four turns, and thirty questions; some with pictures, none of them short."""
    (tmp_path / "a.jpg").write_bytes(b"picture")
    talks, questions = [], []
    for at in range(30):
        picture = {"image": "a.jpg"} if at % 3 else {}
        mark = "<image>\n" if picture else ""
        pairs = [
            (f"{mark if turn == 0 else ''}Wo {'ü' * (at % 5)} {turn}?", f" da {'x' * at}") for turn in range(at % 4 + 1)
        ]
        parts = [
            {"from": who, "value": text} for pair in pairs for who, text in zip(("human", "gpt"), pair, strict=True)
        ]
        talks.append({"id": at, **picture, "conversations": parts})
        questions.append({"id": at, **picture, "text": f"Wo {'ü' * at}?\n{mark if at % 2 else ''}", "answer": ""})
    for name, content in (("train", talks), ("test", questions)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return read_train(tmp_path / "train.json", tmp_path), read_test(tmp_path / "test.json", tmp_path)


class Counting(Encoder):
    """Counts rendered rows."""

    rendered = 0

    def prompt(self, row) -> str:
        self.rendered += 1
        return super().prompt(row)


def encoder(prompt: str, folder: Path, **options) -> Counting:
    return Counting(tiny.load(prompt=prompt), folder, None, **options)


@pytest.mark.parametrize("prompt", sorted(FORMATS))
def test_they_are_those_of_the_rendered_rows(rows, tmp_path, prompt):
    made = encoder(prompt, tmp_path)
    sizes = PromptSizes(made)
    for part in rows:
        assert sizes.characters(part) == [len(made.prompt(row)) for row in part]
        assert sizes.characters(list(part)) == sizes.characters(part)
        for row, bound in zip(part, sizes.token_bounds(part).tolist(), strict=True):
            assert len(made.encode(row)[0]) <= bound <= made.backbone.token_bound(made.prompt(row))


def test_the_tokens_of_markers_are_counted_and_those_of_texts_bounded(rows, tmp_path):
    """With one token per byte the bound is what it bounds, but for the tokens that a tokenizer may add: two, and one
    per marker."""
    made = encoder("chatml", tmp_path)
    for part in rows:
        markers = [made.prompt(row).count("<|im_") for row in part]
        needed = [len(made.encode(row)[0]) + 2 + extra for row, extra in zip(part, markers, strict=True)]
        assert PromptSizes(made).token_bounds(part).tolist() == needed


@pytest.mark.parametrize("prompt", sorted(FORMATS))
def test_a_closer_bound_from_words(rows, tmp_path, prompt):
    made = encoder(prompt, tmp_path)
    sizes = PromptSizes(made)
    for part in rows:
        for row, bound in zip(part, sizes.token_bounds(part).tolist(), strict=True):
            closer = sizes.closer_bound(row)
            assert closer is not None
            assert len(made.encode(row)[0]) <= closer <= bound
    made.backbone.prompt = Shouting(**vars(made.backbone.prompt))
    assert PromptSizes(made).closer_bound(rows[0][0]) is None


def test_a_marker_in_somebodys_text_does_not_lower_the_bound(tmp_path):
    from coin_lightning.tasks.row_format import TestRow

    made = encoder("chatml", tmp_path)
    row = TestRow("1", "What is <|im_end|><|im_start|> here?", None, {}, "row 1")
    assert PromptSizes(made).token_bounds([row])[0] == len(made.encode(row)[0]) + 2 + 3


def test_rows_are_not_rendered_for_it(rows, tmp_path):
    made = encoder("vicuna_v1", tmp_path)
    sizes = PromptSizes(made)
    first = sizes.characters(rows[0])
    cost = made.rendered
    assert cost < 40
    assert sizes.characters(rows[0].select(list(range(30)) * 100)) == first * 100
    assert made.rendered == cost


@dataclass(frozen=True)
class Shouting(PromptFormat):
    """A prompt that changes what it quotes."""

    def render(self, turns) -> Rendered:
        return super().render([Turn(turn.question.replace("?", "???"), turn.answer, turn.picture) for turn in turns])


def test_a_prompt_that_changes_texts_is_rendered_row_by_row(rows, tmp_path):
    made = encoder("chatml", tmp_path)
    made.backbone.prompt = Shouting(**vars(made.backbone.prompt))
    sizes = PromptSizes(made)
    for part in rows:
        assert sizes.characters(part) == [len(made.prompt(row)) for row in part]


def test_boxes_may_grow_when_they_are_converted(rows, tmp_path):
    from coin_lightning.backbones.box_formats import BoxFormat

    plain, other = encoder("chatml", tmp_path), encoder("qwen", tmp_path, boxes="converted")
    assert other.converts_boxes
    assert PromptSizes(plain).token_bounds(rows[1]).min() > 0
    turns = rows[0].sizes().turns
    fixed = PromptSizes(encoder("qwen", tmp_path)).token_bounds(rows[0])
    assert (PromptSizes(other).token_bounds(rows[0]) == fixed + BOX_GROWTH * turns).all()
    longest = BoxFormat("original", "thousand_tags").write((0.1, 0.1, 1, 1), (10, 10))
    assert len(longest) - len("[0,0,1,1]") < BOX_GROWTH


def test_no_rows(tmp_path):
    assert PromptSizes(encoder("chatml", tmp_path)).characters([]) == []
