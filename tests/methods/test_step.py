import torch

from coin_lightning.methods.step import IGNORE, Inputs


def test_prompts_come_first_are_attended_to_and_not_learned():
    labels, mask = torch.tensor([[1, 2, 3], [4, 5, IGNORE]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    prompts = torch.arange(16.0).view(2, 2, 4)
    more = Inputs(torch.tensor([[7, 8, 9], [4, 5, 6]]), 2, labels, mask).prepend(prompts)
    assert more.ids.tolist() == [[2, 2, 7, 8, 9], [2, 2, 4, 5, 6]]
    assert torch.equal(more.prefix, prompts)
    assert torch.equal(more.prepend(prompts[:, :1]).prefix, torch.cat([prompts[:, :1], prompts], dim=1))
    assert more.labels.tolist() == [[IGNORE, IGNORE, IGNORE, 2, 3], [IGNORE, IGNORE, IGNORE, 5, IGNORE]]
    assert more.mask.tolist() == [[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]]


def test_what_is_not_there_stays_away():
    more = Inputs(torch.ones(1, 3, dtype=torch.long)).prepend(torch.zeros(1, 1, 4))
    assert (more.labels, more.mask, more.layout) == (None, None, {})


def test_positions_go_on_behind_the_prompts_and_prompts_are_text():
    """Of a sample padded on the left by one, with an image of two positions that share their first coordinate."""
    places = torch.tensor([[[0, 0, 1, 2]], [[0, 0, 0, 1]]])
    inputs = Inputs(
        torch.tensor([[2, 9, 9, 5]]), 2, None, torch.tensor([[0, 1, 1, 1]]),
        {"position_ids": places, "token_type_ids": torch.tensor([[0, 1, 1, 0]])},
    )  # fmt: skip
    more = inputs.prepend(torch.zeros(1, 2, 4))
    assert more.layout["position_ids"].tolist() == [[[0, 1, 2, 2, 3, 4]], [[0, 1, 2, 2, 2, 3]]]
    assert more.layout["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 0]]
