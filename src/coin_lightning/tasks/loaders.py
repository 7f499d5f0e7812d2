"""What data loaders read from: samples one by one to learn, whole batches to answer."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from coin_lightning.backbones.base import IGNORE


class Batches(Dataset):
    """Whole batches as items: Lightning rebuilds the batch sampler of a predict loader; here is none.

    Args:
        samples: taken when their batch is asked for.
        batches: sample numbers of each batch.
        collate: samples to a batch.
    """

    def __init__(
        self,
        samples: Sequence[Any],
        batches: Sequence[Sequence[int]],
        collate: Callable[[Sequence[Any]], dict[str, Any]],
    ) -> None:
        self.samples, self.batches, self.collate = samples, batches, collate

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.collate([self.samples[sample] for sample in self.batches[index]])


class TrainLoader(DataLoader):
    """Training batches, each with what its optimizer step learns from in this process: `step_targets` answer tokens in
    `step_batches` batches. The last step of an epoch may have fewer.

    It goes on in mid-epoch without state of its own: `resume_at` has told its sampler where, at the start of a step.

    Args:
        samples: to learn from.
        accumulation: batches per optimizer step.
        options: as for `DataLoader`.
    """

    def __init__(self, samples: Sequence[Any], accumulation: int = 1, **options: Any) -> None:
        # a generator of its own: starting over the samples draws a number, not to be taken from the dropout's stream
        super().__init__(samples, generator=torch.Generator(), **options)  # type: ignore[arg-type]  # any sequence serves
        self.accumulation = accumulation

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # Lightning asks for no more
        batches = super().__iter__()
        while step := list(islice(batches, self.accumulation)):
            targets = sum(int((batch["labels"][:, 1:] != IGNORE).sum()) for batch in step)
            for batch in step:
                yield {**batch, "step_targets": targets, "step_batches": len(step)}

    def state_dict(self) -> dict[str, Any]:
        """Nothing; its presence tells Lightning that the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""
