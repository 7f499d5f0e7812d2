import torch

from coin_lightning.backbones.base import IGNORE
from coin_lightning.tasks.loaders import Batches, TrainLoader


def test_samples_are_taken_when_their_batch_is_asked_for():
    asked = []

    class Watched(list):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    batches = Batches(Watched("abcde"), [[3, 1], [0]], lambda samples: {"samples": "".join(samples)})
    assert len(batches) == 2
    assert asked == []
    assert batches[0] == {"samples": "db"}
    assert asked == [3, 1]


def test_the_loader_has_no_state():
    loader = TrainLoader(["a", "b"], batch_size=2)
    assert loader.state_dict() == {}
    loader.load_state_dict({})


def collate(samples: list[list[int]]) -> dict:
    width = max(map(len, samples))
    return {"labels": torch.tensor([sample + [IGNORE] * (width - len(sample)) for sample in samples])}


def test_batches_know_the_answer_tokens_of_their_step():
    """Counted by hand; the first label of a sample has no logits before it."""
    samples = [[IGNORE, 7], [IGNORE, 7, 8, 9], [5, 7], [IGNORE, IGNORE, 4], [IGNORE, 2, 3]]
    loader = TrainLoader(samples, 2, batch_size=1, collate_fn=collate)
    seen = [(batch["step_targets"], batch["step_batches"]) for batch in loader]
    assert seen == [(4, 2), (4, 2), (2, 2), (2, 2), (2, 1)]


def test_going_through_the_samples_draws_nothing_from_the_dropouts_numbers():
    loader = TrainLoader([[IGNORE, 7], [IGNORE, 8]], batch_size=1, collate_fn=collate)
    state = torch.get_rng_state()
    assert len(list(loader)) == len(list(loader)) == 2
    assert torch.equal(torch.get_rng_state(), state)
