import random
from itertools import chain

import pytest

from coin_lightning.tasks.sampler import BUCKET, LengthBucketSampler, answer_batches


def lengths(count: int) -> list[int]:
    rng = random.Random(0)
    return [rng.randrange(10, 200) for _ in range(count)]


def batches(count: int = 103, size: int = 4, key: str = "1/2/gqa", epoch: int = 0, rank: int = 0, world: int = 1):
    sampler = LengthBucketSampler(lengths(count), size, key, rank, world)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_the_order_is_a_function_of_seed_position_task_and_epoch():
    first = batches()
    random.seed(99)
    assert batches() == first
    for other in (batches(key="2/2/gqa"), batches(key="1/3/gqa"), batches(key="1/2/vqav2"), batches(epoch=1)):
        assert other != first
    assert batches(epoch=1) == batches(epoch=1)


@pytest.mark.parametrize(("count", "size"), [(1, 4), (4, 4), (103, 4), (1000, 7)])
def test_each_sample_comes_once_an_epoch(count, size):
    found = batches(count, size)
    assert sorted(chain(*found)) == list(range(count))
    assert len(found) == len(LengthBucketSampler(lengths(count), size, "k")) == -(-count // size)
    assert sorted(map(len, found))[1:] == [size] * (len(found) - 1)  # one batch may be short


@pytest.mark.parametrize(("count", "world"), [(103, 2), (96, 4), (5, 4), (1, 3)])
def test_ranks_share_the_samples_and_take_equal_steps(count, world):
    shares = [batches(count, 4, rank=rank, world=world) for rank in range(world)]
    assert {len(share) for share in shares} == {-(-count // (4 * world))}
    samplers = [LengthBucketSampler(lengths(count), 4, "k", rank, world) for rank in range(world)]
    own = [share[:-1] if sampler.borrows else share for share, sampler in zip(shares, samplers, strict=True)]
    assert sorted(chain(*chain(*own))) == list(range(count))  # each once, nothing is repeated
    assert [sampler.samples_per_epoch() for sampler in samplers] == [len([*chain(*share)]) for share in own]
    assert all(share[-1] for share in shares)  # a rank that borrows has something to compute, too


@pytest.mark.parametrize(("count", "borrowing"), [(16, []), (17, [1, 2, 3]), (19, [3]), (20, []), (2, [2, 3])])
def test_a_rank_without_a_sample_in_the_last_batch_borrows_one(count, borrowing):
    shares = [batches(count, 4, rank=rank, world=4) for rank in range(4)]
    samplers = [LengthBucketSampler(lengths(count), 4, "k", rank, 4) for rank in range(4)]
    assert [rank for rank, sampler in enumerate(samplers) if sampler.borrows] == borrowing
    assert all(shares[rank][-1] == [shares[0][-1][0]] for rank in borrowing)


def test_skipped_batches_are_left_out_of_the_next_pass_only():
    whole = batches()
    sampler = LengthBucketSampler(lengths(103), 4, "1/2/gqa")
    sampler.skip_batches(10)
    assert list(sampler) == whole[10:]
    assert list(sampler) == whole
    assert len(sampler) == len(whole)


def padding(plan: list[list[int]], sizes: list[int]) -> int:
    return sum(
        max(sizes[sample] for sample in batch) * len(batch) - sum(sizes[sample] for sample in batch) for batch in plan
    )


def test_buckets_save_nearly_all_padding():
    sizes = lengths(800)
    shuffled = random.Random(1).sample(range(800), 800)
    at_random = [shuffled[start : start + 8] for start in range(0, 800, 8)]
    bucketed = list(LengthBucketSampler(sizes, 8, "k"))
    assert padding(bucketed, sizes) < 0.05 * padding(at_random, sizes)


def test_steps_of_several_tasks_are_drawn_at_random_and_their_batches_are_of_like_length():
    """Short samples of one task, long ones of another, 16 to a step: 8 of each, give or take four deviations of 2."""
    sizes = [10 + at % 5 for at in range(400)] + [100 + at % 7 for at in range(400)]
    sampler = LengthBucketSampler(sizes, 4, "k", accumulation=4, bucket=1)
    batches = list(sampler)
    assert sorted(sample for batch in batches for sample in batch) == list(range(800))
    steps = [[sample for batch in batches[at : at + 4] for sample in batch] for at in range(0, 200, 4)]
    shares = [sum(sizes[sample] < 50 for sample in step) for step in steps]
    assert 0 < min(shares) <= max(shares) < 16
    assert [sizes[sample] for sample in steps[0]] == sorted(sizes[sample] for sample in steps[0])
    parted = list(LengthBucketSampler(sizes, 16, "k"))
    assert sum(len({sizes[sample] < 50 for sample in step}) == 1 for step in parted) > 40  # longer buckets part them


def test_batches_are_not_in_order_of_length():
    sizes = list(range(BUCKET * 4))
    starts = [batch[0] for batch in LengthBucketSampler(sizes, 4, "k")]
    assert starts != sorted(starts)
    assert starts != sorted(starts, reverse=True)


def test_lightning_finds_where_to_set_the_epoch():
    from lightning.fabric.utilities.data import _set_sampler_epoch
    from torch.utils.data import DataLoader

    sampler = LengthBucketSampler(lengths(30), 4, "k")
    _set_sampler_epoch(DataLoader(range(30), batch_sampler=sampler), 3)
    assert sampler.epoch == 3


def test_answer_batches_are_sorted_the_longest_first():
    assert answer_batches([3, 9, 5, 9, 1], 2) == [[1, 3], [2, 0], [4]]
    assert answer_batches([], 2) == []


@pytest.mark.parametrize(("size", "world", "accumulation"), [(16, 1, 1), (8, 1, 2), (4, 1, 4), (8, 2, 1), (4, 2, 2)])
def test_a_step_has_the_same_samples_however_it_is_made_up(size, world, accumulation):
    def steps(size: int, world: int, accumulation: int) -> list[list[int]]:
        ranks = [LengthBucketSampler(lengths(160), size, "k", rank, world, accumulation) for rank in range(world)]
        shares = [list(rank) for rank in ranks]
        assert {len(batch) for share in shares for batch in share} == {size}
        together = [sorted(chain(*batches)) for batches in zip(*shares, strict=True)]
        return [sorted(chain(*together[at : at + accumulation])) for at in range(0, len(together), accumulation)]

    assert steps(size, world, accumulation) == steps(16, 1, 1)


@pytest.mark.parametrize("count", [103, 5, 16])
def test_what_is_left_comes_last_so_that_no_step_reaches_into_it(count):
    found = list(LengthBucketSampler(lengths(count), 2, "k", accumulation=4))
    assert sorted(chain(*found)) == list(range(count))
    assert [len(batch) for batch in found[: count // 8 * 4]] == [2] * (count // 8 * 4)


def test_samples_of_one_group_stay_together_where_the_longest_of_them_belongs():
    lengths, groups = [3, 9, 5, 4, 8, 6], [7, 2, 2, 7, 5, 5]
    assert answer_batches(lengths, 2, groups) == [[1, 2], [4, 5], [3, 0]]
    assert answer_batches(lengths, 4, groups) == [[1, 2, 4, 5], [3, 0]]
