"""Batches of samples of like length, in an order that depends on (seed, position, epoch) and nothing else."""

import random
from collections.abc import Iterator, Sequence

BUCKET = 50
"""Optimizer steps whose samples are sorted by length together: enough to save padding, few enough to stay random."""


class LengthBucketSampler:
    """Yields lists of sample numbers for one rank.

    Samples are shuffled, cut into buckets, sorted by length within each, cut into optimizer steps, and the steps are
    shuffled, as `transformers` groups by length. Samples of several tasks have buckets of a single step, which is thus
    drawn at random from all: tasks differ in length, and longer buckets would part them again. The samples of a step
    are then cut into batches and dealt to the ranks. Which samples a step learns from
    thus depends on their number only, not on how batch size, accumulation and ranks make it up. An epoch's last step
    may be short. Its last batch may have fewer samples than there are ranks: all take equal steps, so a rank without
    one borrows another's, see `borrows`; nobody learns from it twice.

    Args:
        lengths: tokens per sample.
        batch_size: samples per batch and rank.
        key: decides the order together with the epoch.
        rank, world_size: which part of each batch of all ranks is yielded.
        accumulation: batches per optimizer step.
        bucket: steps of a bucket.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        key: str,
        rank: int = 0,
        world_size: int = 1,
        accumulation: int = 1,
        bucket: int = BUCKET,
    ) -> None:
        self.lengths, self.batch_size, self.key = list(lengths), batch_size, key
        self.rank, self.world_size, self.accumulation, self.bucket = rank, world_size, accumulation, bucket
        self.epoch = 0
        self._skip = 0

    @property
    def sampler(self) -> "LengthBucketSampler":
        """Itself: Lightning sets the epoch of `batch_sampler.sampler` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    def skip_batches(self, count: int) -> None:
        """Leave out the first `count` batches of the next pass: where a killed run had got to."""
        self._skip = count

    def __len__(self) -> int:
        """Batches per epoch and rank, skipped ones included."""
        return -(-len(self.lengths) // self._wide)

    @property
    def _wide(self) -> int:
        return self.batch_size * self.world_size

    @property
    def left(self) -> int:
        """Batches of the next pass."""
        return len(self) - self._skip

    @property
    def borrows(self) -> bool:
        """Whether the last batch of an epoch has nothing for this rank: what it yields there is another's sample."""
        return self.rank >= (len(self.lengths) % self._wide or self._wide)

    def samples_per_epoch(self) -> int:
        """Samples of this rank, without a borrowed one."""
        full, rest = divmod(len(self.lengths), self._wide)
        return full * self.batch_size + len(range(self.rank, rest, self.world_size))

    def plan(self) -> list[list[int]]:
        """All batches of this epoch over all ranks, each of up to `batch_size * world_size` samples."""
        order = list(range(len(self.lengths)))
        rng = random.Random(f"{self.key}/{self.epoch}")
        rng.shuffle(order)
        wide = self._wide
        steps = list(self._steps(order, wide * self.accumulation))
        rest = [steps.pop()] if steps and len(steps[-1]) < wide * self.accumulation else []
        rng.shuffle(steps)
        return [step[at : at + wide] for step in steps + rest for at in range(0, len(step), wide)]

    def _steps(self, order: Sequence[int], size: int) -> Iterator[list[int]]:
        for start in range(0, len(order), size * self.bucket):
            bucket = sorted(order[start : start + size * self.bucket], key=self.lengths.__getitem__)
            yield from (bucket[at : at + size] for at in range(0, len(bucket), size))

    def __iter__(self) -> Iterator[list[int]]:
        skip, self._skip = self._skip, 0
        for batch in self.plan()[skip:]:
            yield batch[self.rank :: self.world_size] or batch[:1]


def answer_batches(lengths: Sequence[int], batch_size: int, groups: Sequence[int] | None = None) -> list[list[int]]:
    """Samples sorted by length and cut into batches: what generation wants, the longest first to show memory early.

    Args:
        lengths: tokens of each sample.
        batch_size: samples of a batch.
        groups: of each sample a number; samples that share it stay together, at the place of the longest.
    """
    groups = groups or range(len(lengths))
    longest: dict[int, int] = {}
    for group, length in zip(groups, lengths, strict=True):
        longest[group] = max(length, longest.get(group, 0))
    order = sorted(range(len(lengths)), key=lambda at: (-longest[groups[at]], groups[at], -lengths[at], at))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
