import io
import random

import numpy as np
import torch

from coin_lightning.seeding import random_state, restore_random_state, seed_everything


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_one_seed_gives_the_same_numbers_in_all_three_generators():
    seed_everything(5)
    first = draws()
    seed_everything(5)
    assert draws() == first
    seed_everything(6)
    assert all(new != old for new, old in zip(draws(), first, strict=True))


def test_a_restored_state_goes_on_with_the_numbers_it_would_have_drawn():
    seed_everything(1)
    torch.rand(7)
    state = random_state()
    expected = torch.rand(5)
    torch.rand(100)
    restore_random_state(state)
    assert torch.equal(torch.rand(5), expected)


def test_the_state_survives_a_file_that_loads_with_weights_only():
    seed_everything(2)
    buffer = io.BytesIO()
    torch.save(random_state(), buffer)
    expected = torch.rand(3)
    buffer.seek(0)
    restore_random_state(torch.load(buffer, weights_only=True))
    assert torch.equal(torch.rand(3), expected)
