"""Reading CoIN's rows (`coin_reference.md` section 3.2) and refusing everything in them that cannot be used.

All problems of a file are collected before an error is raised, so that a data set is mended in one go.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from coin_lightning.errors import DataError
from coin_lightning.tasks.json_rows import JsonRows
from coin_lightning.tasks.row_format import (
    TEST_FIELDS,
    TRAIN_FIELDS,
    Facts,
    Row,
    TestRow,
    TrainRow,
    identity,
    question_facts,
    question_problems,
    question_row,
    row_problems,
    train_facts,
    train_problems,
    train_row,
)
from coin_lightning.tasks.row_table import NO_PICTURE, Columns, LazyRows, RawRows


@dataclass(frozen=True)
class Kind(Generic[Row]):
    """How the rows of a file are looked at.

    Attributes:
        name, text: what they are called, and the field that holds what they say.
        fields: all fields that are read.
        facts: facts of a row of the usual form, else None.
        problems: what is wrong with a row apart from id and picture.
        make: builds the row.
        once: what to do about an id that comes again.
    """

    name: str
    text: str
    fields: frozenset[str]
    facts: Callable[[Any], Facts | None]
    problems: Callable[[dict[str, Any]], list[str]]
    make: Callable[..., Row]
    once: str


LEARN: Kind[TrainRow] = Kind(
    "training conversations", "conversations", TRAIN_FIELDS, train_facts, train_problems, train_row,
    "ids must be unique, or set data.repeated_train_ids=allow",
)  # fmt: skip
ASK: Kind[TestRow] = Kind(
    "evaluation questions", "text", TEST_FIELDS, question_facts, question_problems, question_row, "ids must be unique"
)


def read_train(
    source: Path | RawRows, images: Path, repeated_ids: str = "refuse", task: str = ""
) -> LazyRows[TrainRow]:
    """Rows of a `train.json`.

    Args:
        source: a JSON file, or the rows of another source.
        images: image root.
        repeated_ids: `refuse`, or `allow`: nothing joins on the ids of training rows.
        task: that the rows are read for.

    Raises:
        DataError: with every problem of the file: fields, speakers, empty answers, repeated ids, picture paths.
    """
    return _read(source, images, LEARN, repeated_ids == "allow", task)


def read_test(source: Path | RawRows, images: Path, task: str = "") -> LazyRows[TestRow]:
    """Rows of a `test.json` or `val.json`; raises as `read_train`."""
    return _read(source, images, ASK, False, task)


def scan_train(
    source: Path | RawRows, images: Path, repeated_ids: str = "refuse", unread: Counter[str] | None = None
) -> Iterator[tuple[int, TrainRow | DataError]]:
    """Every row of a `train.json` by number, or what is wrong with it; goes on behind rows with problems.

    `unread` counts the fields that nothing reads.
    """
    return _scan(source, images, LEARN, repeated_ids == "allow", unread)


def scan_test(
    source: Path | RawRows, images: Path, unread: Counter[str] | None = None
) -> Iterator[tuple[int, TestRow | DataError]]:
    """As `scan_train`."""
    return _scan(source, images, ASK, False, unread)


def repeated(rows: LazyRows[Row]) -> int:
    """How many rows have the id of an earlier row."""
    return len(rows) - len(set(rows.ids))


def _read(source: Path | RawRows, images: Path, kind: Kind[Row], repeat: bool, task: str) -> LazyRows[Row]:
    raw, table = _raw(source), Columns()
    problems: list[str] = []
    reader = Reader(images, kind, table.pictures, repeat, table.unread)
    for number, value in enumerate(raw.scan()):
        try:
            table.add(number, *reader.look(number, value))
        except DataError as error:
            problems += [f"{raw.where(number)}: {line}" for line in error.problems]
    if problems:
        raise DataError(reader.wrong_file(raw, number + 1) or problems)
    return LazyRows(raw, kind.make, table, task=task)


def _scan(
    source: Path | RawRows, images: Path, kind: Kind[Row], repeat: bool, unread: Counter[str] | None
) -> Iterator[tuple[int, Row | DataError]]:
    raw, pictures = _raw(source), list[str]()
    reader = Reader(images, kind, pictures, repeat, Counter() if unread is None else unread)
    for number, value in enumerate(raw.scan()):
        where = raw.where(number)
        try:
            picture = reader.look(number, value)[1]
        except DataError as error:
            yield number, DataError([f"{where}: {line}" for line in error.problems])
        else:
            yield number, kind.make(value, None if picture == NO_PICTURE else pictures[picture], where)


def _raw(source: Path | RawRows) -> RawRows:
    return JsonRows(source) if isinstance(source, Path) else source


class Reader(Generic[Row]):
    """Looks at the rows of one file in turn.

    Args:
        images: image root.
        kind: what the rows should be.
        pictures: gets the path of each picture once.
        repeat: whether an id may come again.
        unread: gets how many rows have a field that nothing reads, by field.
    """

    def __init__(self, images: Path, kind: Kind[Row], pictures: list[str], repeat: bool, unread: Counter[str]) -> None:
        self.images, self.kind, self.pictures, self.repeat, self.unread = images, kind, pictures, repeat, unread
        self._seen: dict[str, int] = {}
        self._written: dict[str, int | str] = {}  # picture number, or problem, by path as rows write it
        self._numbers: dict[str, int] = {}
        self._strange = 0

    def look(self, number: int, raw: Any) -> tuple[Facts, int]:
        """Facts and picture number of row `number`.

        Raises:
            DataError: all its problems, without the row's place.
        """
        facts = self.kind.facts(raw) or self._look_closely(raw)
        if not raw.keys() <= self.kind.fields:
            self.unread.update(raw.keys() - self.kind.fields)
        picture = self._picture(facts.image)
        first = self._seen.setdefault(facts.id, number)
        if first != number and not self.repeat:
            raise DataError(f"id {facts.id!r} is already used by row {first}; {self.kind.once}")
        return facts, picture

    def wrong_file(self, raw: RawRows, count: int) -> str | None:
        """One sentence instead of one per row when all rows are of the other kind."""
        if self._strange < count:
            return None
        other = ASK if self.kind.text == LEARN.text else LEARN
        return (
            f"{raw.place}: holds {other.name} ({other.text!r}) where {self.kind.name} ({self.kind.text!r}) are needed; "
            "check which split is in this file"
        )

    def _look_closely(self, raw: Any) -> Facts:
        if lines := row_problems(raw):
            raise DataError(lines)
        image, lines = raw.get("image"), self.kind.problems(raw)
        other = ASK if self.kind.text == LEARN.text else LEARN
        self._strange += self.kind.text not in raw and other.text in raw
        try:
            self._picture(image)
        except DataError as error:
            lines += error.problems
        if lines:
            raise DataError(lines)
        return Facts(identity(raw) or "", image)

    def _picture(self, written: Any) -> int:
        if written is None:
            return NO_PICTURE
        if isinstance(written, list):
            raise DataError("field 'image' is a list; several pictures in one row are not supported, write one path")
        if not isinstance(written, str) or not written:
            holds = "the picture itself" if isinstance(written, dict | bytes) else ascii(written)[:80]
            raise DataError(f"field 'image' must be a path below {self.images}, found {holds}")
        if written not in self._written:
            self._written[written] = self._find(written)
        found = self._written[written]
        if isinstance(found, str):
            raise DataError(found)
        return found

    def _find(self, written: str) -> int | str:
        try:
            path = picture_path(written, self.images)
        except DataError as error:
            return str(error)
        if path not in self._numbers:
            self._numbers[path] = len(self.pictures)
            self.pictures.append(path)
        return self._numbers[path]


def picture_path(written: str, images: Path) -> str:
    """Path of a picture relative to the image root, from the path in a row.

    `./` prefixes are dropped, and `.jpg.jpg` falls back to `.jpg`, as some published rows need.

    Raises:
        DataError: the path leaves the image root, or there is no such file.
    """
    parts = [part for part in written.split("/") if part not in ("", ".")]
    if written.startswith("/") or ".." in parts or "\\" in written:
        raise DataError(f"image {written!r} leaves the image folder {images}; use a relative path inside it")
    relative = "/".join(parts)
    shorter = relative.removesuffix(".jpg")
    for candidate in (relative, shorter) if relative.endswith(".jpg.jpg") else (relative,):
        if os.path.isfile(os.path.join(images, candidate)):  # `pathlib` takes five times as long
            return candidate
    raise DataError(f"image {images / relative} is missing; restore it or remove the row")
