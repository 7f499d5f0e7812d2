"""Sequences of rows that also tell ids and pictures of all their rows, if they can without decoding them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np

from coin_lightning.tasks.row_format import Row

Indices = Sequence[int] | np.ndarray
Self = TypeVar("Self", bound="RowSequence[Any]")


class RowSequence(Sequence[Row], Generic[Row]):
    """Base class. What it says of all rows is found by looking at each; subclasses know better.

    Slices and selections are views where the subclass can give one.
    """

    def row(self, index: int) -> Row:
        """One row; `0 <= index < len(self)`."""
        raise NotImplementedError

    def select(self: Self, indices: Indices) -> Self:
        """These rows, in this order."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self: Self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Any:
        positions = range(len(self))[index]
        return self.row(positions) if isinstance(positions, int) else self.select(positions)

    def __iter__(self) -> Iterator[Row]:
        return map(self.row, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list

    @property
    def ids(self) -> list[str]:
        """Ids in order."""
        return [row.id for row in self]

    @property
    def images(self) -> list[str]:
        """Each picture once, in the order of first use."""
        return list(dict.fromkeys(row.image for row in self if row.image is not None))

    def where(self, index: int) -> str:
        """File and row for messages."""
        return self[index].where

    def users(self, images: Collection[str]) -> dict[str, str]:
        """`where` of the last row that shows a picture, for those of `images` that a row shows."""
        return {row.image: row.where for row in self if row.image in images and row.image is not None}


class HeldRows(RowSequence[Row]):
    """Rows that are in memory already."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        """One row."""
        return self.rows[index]

    def select(self, indices: Indices) -> "HeldRows[Row]":
        """A copy of the list, not of the rows."""
        return HeldRows([self.rows[index] for index in np.asarray(indices, dtype=np.int64).tolist()])


def as_rows(rows: Sequence[Row]) -> RowSequence[Row]:
    """The sequence itself, or a plain list with the same abilities."""
    return rows if isinstance(rows, RowSequence) else HeldRows(rows)


class JoinedRows(RowSequence[Row]):
    """Rows of several sequences behind one another: joint training on many tasks.

    Args:
        parts: plain lists are allowed.
        chosen: positions in the whole, in order; default: all.
    """

    def __init__(self, parts: Sequence[Sequence[Row]], chosen: Indices | None = None) -> None:
        self.parts = [as_rows(part) for part in parts]
        self._starts = np.cumsum([0, *map(len, self.parts)])
        total = int(self._starts[-1])
        self.chosen = np.arange(total) if chosen is None else np.asarray(chosen, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.chosen)

    def row(self, index: int) -> Row:
        """One row."""
        part, at = self._place(index)
        return self.parts[part].row(at)

    def select(self, indices: Indices) -> "JoinedRows[Row]":
        """A view."""
        return JoinedRows(self.parts, self.chosen[np.asarray(indices, dtype=np.int64)])

    @property
    def ids(self) -> list[str]:
        """Ids in order; those of different parts may be equal."""
        ids = [id_ for part in self.parts for id_ in part.ids]
        return [ids[at] for at in self.chosen.tolist()]

    @property
    def images(self) -> list[str]:
        """Each picture once, part by part."""
        return list(dict.fromkeys(image for part in self._chosen_parts() for image in part.images))

    def where(self, index: int) -> str:
        """File and row for messages."""
        part, at = self._place(index)
        return self.parts[part].where(at)

    def users(self, images: Collection[str]) -> dict[str, str]:
        """As in the base class."""
        return {image: where for part in self._chosen_parts() for image, where in part.users(images).items()}

    def _place(self, index: int) -> tuple[int, int]:
        at = int(self.chosen[index])
        part = int(np.searchsorted(self._starts, at, side="right")) - 1
        return part, at - int(self._starts[part])

    def _chosen_parts(self) -> Iterator[RowSequence[Row]]:
        for number, part in enumerate(self.parts):
            start, end = self._starts[number], self._starts[number + 1]
            yield part.select(self.chosen[(self.chosen >= start) & (self.chosen < end)] - start)
