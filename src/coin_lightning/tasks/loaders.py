"""What data loaders read from: rows one by one to learn, whole batches to answer."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from coin_lightning.backbones.base import IGNORE


class Batches(Dataset):
    """Whole batches as items: Lightning rebuilds the batch sampler of a predict loader; here is none.

    Args:
        rows: taken when their batch is asked for.
        batches: row numbers of each batch.
        collate: rows to a batch.
    """

    def __init__(
        self,
        rows: Sequence[Any],
        batches: Sequence[Sequence[int]],
        collate: Callable[[Sequence[Any]], dict[str, Any]],
    ) -> None:
        self.rows, self.batches, self.collate = rows, batches, collate

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.collate([self.rows[row] for row in self.batches[index]])


class TrainLoader(DataLoader):
    """Training batches, each with what its optimizer step learns from in this process: `step_targets` answer tokens in
    `step_batches` batches. The last step of an epoch may have fewer.

    It goes on in mid-epoch without state of its own: `resume_at` has told its sampler where, at the start of a step.

    Args:
        rows: to learn from.
        accumulation: batches per optimizer step.
        options: as for `DataLoader`.
    """

    def __init__(self, rows: Sequence[Any], accumulation: int = 1, **options: Any) -> None:
        # a generator of its own: starting over the rows draws a number, which must not come out of the dropout's stream
        super().__init__(rows, generator=torch.Generator(), **options)  # type: ignore[arg-type]  # any sequence serves
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
