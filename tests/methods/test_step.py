import torch

from coin_lightning.methods.step import IGNORE, Inputs


def test_prompts_come_first_are_attended_to_and_not_learned():
    labels, mask = torch.tensor([[1, 2, 3], [4, 5, IGNORE]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    inputs = Inputs(torch.ones(2, 3, 4), labels, mask)
    more = inputs.prepend(torch.zeros(2, 2, 4, dtype=torch.float64))
    assert more.embeds.shape == (2, 5, 4)
    assert more.embeds.dtype == torch.float32
    assert not more.embeds[:, :2].any()
    assert more.labels.tolist() == [[IGNORE, IGNORE, 1, 2, 3], [IGNORE, IGNORE, 4, 5, IGNORE]]
    assert more.mask.tolist() == [[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]]


def test_what_is_not_there_stays_away():
    more = Inputs(torch.ones(1, 3, 4)).prepend(torch.zeros(1, 1, 4))
    assert (more.labels, more.mask) == (None, None)
