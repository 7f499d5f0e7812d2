"""Rows that are decoded when they are asked for; what is needed of all of them at once is kept in arrays."""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from coin_lightning.tasks.row_format import Facts, Row
from coin_lightning.tasks.row_sequence import Indices, RowSequence

NO_PICTURE = -1


class RawRows(Protocol):
    """Where rows come from; see `tasks/sources.py`. `scan` goes through all of them once, before any is asked for."""

    name: str
    """Short, the key of its hash in `environment.json`."""
    place: str
    """What messages call the whole."""

    def scan(self) -> Iterator[Any]:
        """The rows in order as plain JSON values."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def where(self, index: int) -> str:
        """What messages call a row."""

    @property
    def sha256(self) -> str:
        """Hash of the contents."""


@dataclass
class Columns:
    """What is kept of all rows of a file, by position.

    Attributes:
        pictures: each path once.
        ids: of the rows.
        numbers: two per row: its number in the file, and the number of its picture in `pictures`.
        unread: how many rows have a field that nothing reads, by field.
    """

    pictures: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    numbers: array = field(default_factory=lambda: array("q"))
    unread: Counter[str] = field(default_factory=Counter)

    def add(self, number: int, facts: Facts, picture: int) -> None:
        """Append row `number` of the file."""
        self.ids.append(facts.id)
        self.numbers.extend((number, picture))

    def table(self) -> np.ndarray:
        """The numbers as `[rows, 2]`."""
        return np.frombuffer(self.numbers, dtype=np.int64).reshape(-1, 2)


class LazyRows(RowSequence[Row]):
    """Some rows of a file in some order. Slices and selections are views.

    Args:
        raw: decodes a row.
        make: builds the row from its raw value, the picture's path, `where` and the task.
        columns: facts of all rows.
        chosen: which of them, in order; default: all.
        task: that the rows are read for.
    """

    def __init__(
        self,
        raw: RawRows,
        make: Callable[[Any, str | None, str, str], Row],
        columns: Columns,
        chosen: Indices | None = None,
        task: str = "",
    ) -> None:
        self.raw, self.make, self.columns, self.task = raw, make, columns, task
        self.chosen = np.arange(len(columns.ids)) if chosen is None else np.asarray(chosen, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.chosen)

    def row(self, index: int) -> Row:
        """Decode a row; raises `DataError` when the file was changed."""
        at = self.chosen[index]
        number, picture = self.columns.numbers[2 * at : 2 * at + 2]
        image = None if picture == NO_PICTURE else self.columns.pictures[picture]
        return self.make(self.raw[number], image, self.raw.where(number), self.task)

    def select(self, indices: Indices) -> "LazyRows[Row]":
        """A view."""
        chosen = self.chosen[np.asarray(indices, dtype=np.int64)]
        return LazyRows(self.raw, self.make, self.columns, chosen, self.task)

    @property
    def ids(self) -> list[str]:
        """Ids in order."""
        return [self.columns.ids[at] for at in self.chosen.tolist()]

    @property
    def images(self) -> list[str]:
        """Each picture once, in the order of first use."""
        used, first = np.unique(self.columns.table()[self.chosen, 1], return_index=True)
        return [self.columns.pictures[number] for number in used[np.argsort(first)].tolist() if number != NO_PICTURE]

    def without_picture(self) -> int:
        """How many rows show none."""
        return int((self.columns.table()[self.chosen, 1] == NO_PICTURE).sum())

    def where(self, index: int) -> str:
        """File and row for messages."""
        return self.raw.where(self.columns.numbers[2 * self.chosen[index]])

    def users(self, images: Collection[str]) -> dict[str, str]:
        """`where` of the last row that shows a picture, for those of `images` that a row shows."""
        wanted = set(images)
        numbers = {number: image for number, image in enumerate(self.columns.pictures) if image in wanted}
        used = self.columns.table()[self.chosen, 1].tolist()
        last = {number: index for index, number in enumerate(used) if number in numbers}
        return {numbers[number]: self.where(index) for number, index in last.items()}
