import io

import torch

from coin_lightning.seeding import random_state, restore_random_state, seed_everything


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
