import io
from itertools import product

import torch

from coin_lightning.seeding import experience_seed, random_state, restore_random_state, seed_everything, seed_rank


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


def test_no_two_experiences_share_their_numbers_whatever_seed_task_and_process():
    """Nor with what the adapter begins with, which is drawn from the seed itself."""
    everything = [experience_seed(*each) for each in product((*range(20), 2**32 - 1), range(13), range(4))]
    assert len({*everything, *range(20)}) == len(everything) + 20
    assert all(0 <= each < 2**32 for each in everything)


def test_only_processes_behind_the_first_begin_anew():
    drawn = {}
    for rank in range(3):
        seed_everything(experience_seed(5, 2))
        seed_rank(5, 2, rank)
        drawn[rank] = torch.rand(4).tolist()
    seed_everything(experience_seed(5, 2))
    assert torch.rand(4).tolist() == drawn[0]
    assert len({tuple(each) for each in drawn.values()}) == 3
