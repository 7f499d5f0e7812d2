import torch

from coin_lightning.backbones.base import IGNORE
from coin_lightning.tasks.loaders import Batches, TrainLoader
from coin_lightning.tasks.sampler import LengthBucketSampler


def test_samples_are_taken_when_their_batch_is_asked_for():
    asked = []

    class Watched(list):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    batches = Batches(Watched("abcde"), [[3, 1], [0]], lambda samples: {"samples": "".join(samples)})
    assert len(batches) == 2
    assert asked == []
    assert batches[0] == {"samples": "db", "spare": False}
    assert asked == [3, 1]


def one_by_one(count: int) -> LengthBucketSampler:
    return LengthBucketSampler([1] * count, 1, "k")


def test_the_loader_has_no_state():
    loader = TrainLoader(["a", "b"], one_by_one(2))
    assert loader.state_dict() == {}
    loader.load_state_dict({})


def collate(samples: list[list[int]]) -> dict:
    width = max(map(len, samples))
    return {"labels": torch.tensor([sample + [IGNORE] * (width - len(sample)) for sample in samples])}


def test_batches_know_the_answer_tokens_of_their_step():
    """Counted by hand; the first label of a sample has no logits before it."""
    samples = [[IGNORE, 7], [IGNORE, 7, 8, 9], [5, 7], [IGNORE, IGNORE, 4], [IGNORE, 2, 3]]
    order = one_by_one(5)
    loader = TrainLoader(samples, order, 2, collate_fn=collate)
    learned = [(1, 3, 1, 1, 2)[batch[0]] for batch in order]
    steps = [(sum(learned[at : at + 2]), len(learned[at : at + 2])) for at in (0, 0, 2, 2, 4)]
    assert [(batch["step_targets"], batch["step_samples"]) for batch in loader] == steps


def test_a_borrowed_batch_counts_nothing_also_behind_a_kill():
    samples = [[IGNORE, 7, 8]] * 5
    for skipped in (0, 1):
        order = LengthBucketSampler([1] * 5, 1, "k", rank=1, world_size=2, accumulation=3)
        order.skip_batches(skipped)
        seen = [(batch["samples"], batch["step_samples"], batch["step_targets"]) for batch in
                TrainLoader(samples, order, 3 - skipped, collate_fn=collate)]  # fmt: skip
        full = 2 - skipped
        assert seen == [(1, full, 2 * full)] * full + [(0, full, 2 * full)]


def test_going_through_the_samples_draws_nothing_from_the_dropouts_numbers():
    loader = TrainLoader([[IGNORE, 7], [IGNORE, 8]], one_by_one(2), collate_fn=collate)
    state = torch.get_rng_state()
    assert len(list(loader)) == len(list(loader)) == 2
    assert torch.equal(torch.get_rng_state(), state)
