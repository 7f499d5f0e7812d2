"""What data loaders read from: samples one by one to learn, whole batches to answer."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from coin_lightning.backbones.base import IGNORE
from coin_lightning.tasks.loader_processes import Failed, Workbench, sound
from coin_lightning.tasks.sampler import LengthBucketSampler


class Batches(Dataset):
    """Whole batches as items: Lightning rebuilds the batch sampler of a predict loader; here is none.

    A batch says whether it is `spare`: another process has it too, and only its answer counts.

    Args:
        samples: taken when their batch is asked for.
        batches: sample numbers of each batch.
        collate: samples to a batch.
        spare: further batches of this kind.
        processes: loader processes that will ask for them.
    """

    def __init__(
        self,
        samples: Sequence[Any],
        batches: Sequence[Sequence[int]],
        collate: Callable[[Sequence[Any]], dict[str, Any]],
        spare: Sequence[Sequence[int]] = (),
        processes: int = 0,
    ) -> None:
        self.batches, self.own = [*batches, *spare], len(batches)
        self.bench = Workbench(samples, collate, processes, max(map(len, self.batches), default=0))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any] | Failed:
        batch = self.bench.make(self.batches[index])
        return batch if isinstance(batch, Failed) else {**batch, "spare": index >= self.own}


class AnswerLoader(DataLoader):
    """Loads `Batches`."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # Lightning asks for no more
        return sound(super().__iter__())


class Made(Dataset):
    """Samples that become a batch where they are taken, so that it is known of whom a failure is."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def __len__(self) -> int:
        return len(self.bench.samples)

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        return self.bench.make(numbers)


def _as_it_is(batch: Any) -> Any:
    """For a loader whose batches are made."""
    return batch


class TrainLoader(DataLoader):
    """Training batches, each with the number of its `samples` and with what its optimizer step learns from in this
    process: `step_targets` answer tokens of `step_samples` samples. The last step of an epoch may have fewer.

    A batch that is there only so that all ranks take equal steps (see `LengthBucketSampler.borrows`) counts as one
    without samples.

    It goes on in mid-epoch without state of its own: `resume_at` has told its sampler where, at the start of a step.

    Args:
        samples: to learn from.
        order: the sample numbers of each batch.
        accumulation: batches per optimizer step.
        collate_fn: samples to a batch.
        num_workers: loader processes.
        options: as for `DataLoader`.
    """

    def __init__(
        self,
        samples: Sequence[Any],
        order: LengthBucketSampler,
        accumulation: int = 1,
        collate_fn: Callable[[Sequence[Any]], Any] = list,
        num_workers: int = 0,
        **options: Any,
    ) -> None:
        made = Made(Workbench(samples, collate_fn, num_workers, order.batch_size))
        # a generator of its own: starting over the samples draws a number, not to be taken from the dropout's stream
        options |= {"generator": torch.Generator(), "num_workers": num_workers, "collate_fn": _as_it_is}
        super().__init__(made, batch_sampler=order, **options)
        self.order, self.accumulation = order, accumulation

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # Lightning asks for no more
        batches = self._counted(self.order.left, sound(super().__iter__()))
        while step := list(islice(batches, self.accumulation)):
            targets = sum(int((batch["labels"][:, 1:] != IGNORE).sum()) for batch in step if batch["samples"])
            samples = sum(batch["samples"] for batch in step)
            for batch in step:
                yield {**batch, "step_targets": targets, "step_samples": samples}

    def _counted(self, count: int, batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Each of `count` batches with the number of its own samples."""
        for number, batch in enumerate(batches, start=1):
            borrowed = number == count and self.order.borrows
            yield {**batch, "samples": 0 if borrowed else len(batch["labels"])}

    def state_dict(self) -> dict[str, Any]:
        """Nothing; its presence tells Lightning that the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""
