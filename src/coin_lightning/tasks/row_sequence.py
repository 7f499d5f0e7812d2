"""Rows in any order, from tables and lists; what is asked of all of them is known without decoding them."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Generic, overload

import numpy as np
import pyarrow as pa

from coin_lightning.tasks.row_format import Media, Row
from coin_lightning.tasks.sample_table import Kind, RawSamples, unread

Indices = Sequence[int] | np.ndarray


class RowFile(Generic[Row]):
    """All rows of a source; one is decoded when it is asked for.

    Args:
        raw: where they come from.
        table: see `sample_table`.
        starts, numbers: where the images of each row begin in `numbers`, and their places in `paths`.
        paths: of the images below the image root, each once.
        kind: of rows.
        task: that the rows are read for.
    """

    def __init__(
        self,
        raw: RawSamples,
        table: pa.Table,
        starts: np.ndarray,
        numbers: np.ndarray,
        paths: list[str],
        kind: Kind[Row],
        task: str,
    ) -> None:
        self.raw, self.table, self.kind, self.task = raw, table, kind, task
        self.ids: list[str] = table["id"].to_pylist()
        self.unread = unread(table, kind)
        self._starts, self._numbers, self._paths = starts, numbers, paths

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Row:
        shown = self._numbers[self._starts[index] : self._starts[index + 1]].tolist()
        media = tuple(Media(self._paths[number]) for number in shown)
        return self.kind.make(json.loads(self.table["json"][index].as_py()), media, self.where(index), self.task)

    def where(self, index: int) -> str:
        """File and row for messages."""
        return f"{self.raw.place} row {index}"

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How many images each of these rows shows."""
        return self._starts[rows + 1] - self._starts[rows]

    def images(self, rows: np.ndarray) -> Iterator[tuple[int, str]]:
        """Rows and images in their order, an image as often as rows show it."""
        counts = self.counts(rows)
        places = np.repeat(self._starts[rows] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        shown = (self._paths[number] for number in self._numbers[places].tolist())
        return zip(np.repeat(rows, counts).tolist(), shown, strict=True)


class RowList(Generic[Row]):
    """Rows that are in memory already, with the abilities of a `RowFile`."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    @property
    def ids(self) -> list[str]:
        """Ids in order."""
        return [row.id for row in self.rows]

    def where(self, index: int) -> str:
        """File and row for messages."""
        return self.rows[index].where

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """As of a `RowFile`."""
        return np.array([len(self.rows[row].media) for row in rows.tolist()], dtype=np.int64)

    def images(self, rows: np.ndarray) -> Iterator[tuple[int, str]]:
        """As of a `RowFile`."""
        return ((row, media.path) for row in rows.tolist() for media in self.rows[row].media)


class Rows(Sequence[Row], Generic[Row]):
    """Rows of one or several parts. Slices and selections are views.

    Args:
        parts: where the rows are.
        places: part and number in it of each row, `[rows, 2]`; default: all rows of all parts.
    """

    def __init__(self, parts: Sequence[RowFile[Row] | RowList[Row]], places: np.ndarray | None = None) -> None:
        self.parts = list(parts)
        if places is None:
            sizes = [len(part) for part in self.parts]
            numbers = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.arange(0)
            places = np.stack([np.repeat(np.arange(len(sizes)), sizes), numbers], axis=1)
        self.places = places

    @classmethod
    def joined(cls, sequences: Sequence[Sequence[Row]]) -> "Rows[Row]":
        """Rows of several sequences behind one another; plain lists are allowed."""
        parts: list[Any] = []
        places = [np.empty((0, 2), dtype=np.int64)]
        for rows in map(as_rows, sequences):
            places.append(rows.places + np.array((len(parts), 0)))
            parts += rows.parts
        return cls(parts, np.concatenate(places))

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "Rows[Row]": ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Rows(self.parts, self.places[index])
        part, number = self.places[index].tolist()
        return self.parts[part][number]

    def select(self, indices: Indices) -> "Rows[Row]":
        """These rows, in this order."""
        return Rows(self.parts, self.places[np.asarray(indices, dtype=np.int64)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list

    @property
    def ids(self) -> list[str]:
        """Ids in order; those of different parts may be equal."""
        ids = [part.ids for part in self.parts]
        return [ids[part][number] for part, number in self.places.tolist()]

    @property
    def images(self) -> list[str]:
        """Each image once, in the order of first use part by part."""
        return list(dict.fromkeys(image for part, rows in self.by_part() for _, image in part.images(rows)))

    def without_image(self) -> int:
        """How many rows show none."""
        return sum(int((part.counts(rows) == 0).sum()) for part, rows in self.by_part())

    def where(self, index: int) -> str:
        """File and row for messages."""
        part, number = self.places[index].tolist()
        return self.parts[part].where(number)

    def users(self, images: Collection[str]) -> dict[str, str]:
        """`where` of the last row that shows an image, for those of `images` that a row shows."""
        shown = ((part, *found) for part, rows in self.by_part() for found in part.images(rows))
        return {image: part.where(row) for part, row, image in shown if image in images}

    def unread(self) -> Counter[str]:
        """How many rows of the files have a field that nothing reads, by field."""
        return sum((part.unread for part in self.parts if isinstance(part, RowFile)), Counter[str]())

    def by_part(self) -> Iterator[tuple[RowFile[Row] | RowList[Row], np.ndarray]]:
        """Each part with the numbers of its rows that are used."""
        for number, part in enumerate(self.parts):
            yield part, self.places[self.places[:, 0] == number, 1]


def as_rows(rows: Sequence[Row]) -> Rows[Row]:
    """The sequence itself, or a plain list with the same abilities."""
    return rows if isinstance(rows, Rows) else Rows([RowList(rows)])
