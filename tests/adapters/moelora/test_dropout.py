"""Dropout masks: rate, independence, the global generator, and application by bits."""

import pytest
import torch

from coin_lightning.adapters.moelora.dropout import apply_mask, apply_mask_, keep_mask

CPU = torch.device("cpu")


@pytest.mark.parametrize("keep", [0.95, 0.5, 0.1])
def test_each_value_is_kept_with_the_probability_also_at_odd_sizes(keep):
    torch.manual_seed(0)
    mask = keep_mask(997, 1013, keep, CPU)
    assert mask.dtype == torch.bool
    assert mask.shape == (997, 1013)
    spread = (keep * (1 - keep) / mask.numel()) ** 0.5
    assert mask.float().mean().item() == pytest.approx(keep, abs=4 * spread)


def test_the_four_values_of_one_word_are_independent():
    torch.manual_seed(0)
    quarters = keep_mask(100_000, 4, 0.5, CPU).float()
    correlation = torch.corrcoef(quarters.t()) - torch.eye(4)
    assert correlation.abs().max() < 0.015
    assert (quarters.mean(0) - 0.5).abs().max() < 0.008


def test_masks_follow_the_global_generator():
    torch.manual_seed(3)
    first, state = keep_mask(5, 7, 0.5, CPU), torch.get_rng_state()
    second = keep_mask(5, 7, 0.5, CPU)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(keep_mask(5, 7, 0.5, CPU), second)


def test_a_rate_below_the_resolution_still_drops():
    torch.manual_seed(0)
    dropped = ~keep_mask(1000, 1000, 1 - 1e-7, CPU)
    assert 0 < dropped.sum() < 60  # one in 65,536


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_application_is_multiplication_by_zero_or_one(dtype):
    x = torch.randn(6, 5).to(dtype)
    mask = torch.rand(6, 5) < 0.5
    wanted = torch.where(mask, x, torch.zeros((), dtype=dtype))
    assert torch.equal(apply_mask(x, mask), wanted)
    assert not torch.equal(x, wanted)
    assert apply_mask_(x, mask) is x
    assert torch.equal(x, wanted)


def test_a_dropped_infinity_is_zero():
    x = torch.tensor([[float("inf"), float("nan"), -2.0]])
    assert torch.equal(apply_mask(x, torch.tensor([[False, False, True]])), torch.tensor([[0.0, 0.0, -2.0]]))
