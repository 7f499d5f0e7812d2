"""What data loaders read from: samples one by one to learn, whole batches to answer."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from coin_lightning.backbones.base import IGNORE
from coin_lightning.tasks.sampler import LengthBucketSampler


class Batches(Dataset):
    """Whole batches as items: Lightning rebuilds the batch sampler of a predict loader; here is none.

    A batch says whether it is `spare`: another process has it too, and only its answer counts.

    Args:
        samples: taken when their batch is asked for.
        batches: sample numbers of each batch.
        collate: samples to a batch.
        spare: further batches of this kind.
    """

    def __init__(
        self,
        samples: Sequence[Any],
        batches: Sequence[Sequence[int]],
        collate: Callable[[Sequence[Any]], dict[str, Any]],
        spare: Sequence[Sequence[int]] = (),
    ) -> None:
        self.samples, self.batches, self.collate = samples, [*batches, *spare], collate
        self.own = len(batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        batch = self.collate([self.samples[sample] for sample in self.batches[index]])
        return {**batch, "spare": index >= self.own}


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
        options: as for `DataLoader`.
    """

    def __init__(
        self, samples: Sequence[Any], order: LengthBucketSampler, accumulation: int = 1, **options: Any
    ) -> None:
        # a generator of its own: starting over the samples draws a number, not to be taken from the dropout's stream
        super().__init__(samples, batch_sampler=order, generator=torch.Generator(), **options)  # type: ignore[arg-type]
        self.order, self.accumulation = order, accumulation

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # Lightning asks for no more
        batches = self._counted(self.order.left, super().__iter__())
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
