"""What data loaders read from: rows one by one to learn, whole batches to answer."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    """Rows as a map-style data set; a batch is put together by the collate function."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


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
    """A loader that goes on in mid-epoch without state of its own: `resume_at` has told its sampler where."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing; its presence tells Lightning that the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""
