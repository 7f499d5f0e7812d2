"""Reading CoIN's rows (`coin_reference.md` section 3.2) and refusing everything in them that cannot be used.

All problems of a file are collected before an error is raised, so that a data set is mended in one go.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.errors import DataError
from coin_lightning.tasks.row_format import (
    TEST_FIELDS,
    TRAIN_FIELDS,
    Row,
    TestRow,
    TrainRow,
    question_problems,
    question_row,
    train_problems,
    train_row,
)
from coin_lightning.tasks.row_sequence import RowFile, Rows
from coin_lightning.tasks.sample_table import Kind, Problems, RawSamples, images_of, sample_table
from coin_lightning.tasks.sources import JsonFile

LEARN: Kind[TrainRow] = Kind(
    "train", "training conversations", "conversations", TRAIN_FIELDS, train_problems, train_row,
    "ids must be unique, or set data.repeated_train_ids=allow",
)  # fmt: skip
ASK: Kind[TestRow] = Kind(
    "test", "evaluation questions", "text", TEST_FIELDS, question_problems, question_row, "ids must be unique"
)


def read_train(
    source: Path | RawSamples,
    images: Path,
    repeated_ids: str = "refuse",
    task: str = "",
    cache: Path | None = None,
) -> Rows[TrainRow]:
    """Rows of a `train.json`.

    Args:
        source: a JSON file, or the rows of another source.
        images: image root.
        repeated_ids: `refuse`, or `allow`: nothing joins on the ids of training rows.
        task: that the rows are read for.
        cache: folder that keeps what was read of a file for the next start.

    Raises:
        DataError: with every problem of the file: fields, speakers, empty answers, repeated ids, image paths.
    """
    return _without_problems(*scan_train(source, images, repeated_ids, task, cache))


def read_test(source: Path | RawSamples, images: Path, task: str = "", cache: Path | None = None) -> Rows[TestRow]:
    """Rows of a `test.json` or `val.json`; raises as `read_train`."""
    return _without_problems(*scan_test(source, images, task, cache))


def scan_train(
    source: Path | RawSamples,
    images: Path,
    repeated_ids: str = "refuse",
    task: str = "",
    cache: Path | None = None,
) -> tuple[RowFile[TrainRow], Problems]:
    """All rows of a `train.json`, and what is wrong with some of them, which must not be taken.

    Raises:
        DataError: the file cannot be read, or holds rows of the other kind.
    """
    return _scan(source, images, LEARN, repeated_ids == "allow", task, cache)


def scan_test(
    source: Path | RawSamples, images: Path, task: str = "", cache: Path | None = None
) -> tuple[RowFile[TestRow], Problems]:
    """As `scan_train`."""
    return _scan(source, images, ASK, False, task, cache)


def repeated(rows: Rows[Row]) -> int:
    """How many rows have the id of an earlier row."""
    return len(rows) - len(set(rows.ids))


def _without_problems(file: RowFile[Row], problems: Problems) -> Rows[Row]:
    if problems:
        raise DataError([f"{file.where(number)}: {line}" for number in sorted(problems) for line in problems[number]])
    return Rows([file])


def _scan(
    source: Path | RawSamples, images: Path, kind: Kind[Row], repeat: bool, task: str, cache: Path | None
) -> tuple[RowFile[Row], Problems]:
    raw = JsonFile(source) if isinstance(source, Path) else source
    table, problems = sample_table(raw, kind, cache)
    starts, numbers, written = images_of(table)
    paths, places, missing = _found(written, images)
    for at in np.flatnonzero(np.isin(numbers, list(missing))).tolist():
        row = int(np.searchsorted(starts, at, side="right")) - 1
        problems.setdefault(row, []).append(missing[numbers[at]])
    file = RowFile(raw, table, starts, places[numbers], paths, kind, task)
    if len(problems) == len(file):
        _check_kind(file, kind)
    for row, first in () if repeat else _again(file.ids):
        problems.setdefault(row, []).append(f"id {file.ids[row]!r} is already used by row {first}; {kind.once}")
    return file, problems


def _check_kind(file: RowFile[Any], kind: Kind[Any]) -> None:
    """One sentence instead of one per row when all rows are of the other kind."""
    other = ASK if kind.text == LEARN.text else LEARN
    values = (json.loads(text.as_py()) for text in file.table["json"])
    if all(isinstance(value, dict) and other.text in value and kind.text not in value for value in values):
        raise DataError(
            f"{file.raw.place}: holds {other.title} ({other.text!r}) where {kind.title} ({kind.text!r}) are needed; "
            "check which split is in this file"
        )


def _again(ids: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Rows whose id an earlier row has, with the number of that row."""
    first: dict[str, int] = {}
    for number, id_ in enumerate(ids):
        if id_ is not None and first.setdefault(id_, number) != number:
            yield number, first[id_]


def _found(written: list[str], images: Path) -> tuple[list[str], np.ndarray, dict[int, str]]:
    """Paths below the image root, each once; the place among them of each path as rows write it; what is wrong with
    some of those, by number.
    """
    places, problems = dict[str, int](), {}
    numbers = np.zeros(len(written), dtype=np.int64)
    for number, text in enumerate(written):
        try:
            numbers[number] = places.setdefault(image_path(text, images), len(places))
        except DataError as error:
            problems[number] = str(error)
    return list(places), numbers, problems


def image_path(written: str, images: Path) -> str:
    """Path of an image relative to the image root, from the path in a row.

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
