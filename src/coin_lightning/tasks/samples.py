"""Reading CoIN's samples (`coin_reference.md` section 3.2) and refusing everything in them that cannot be used.

All problems of a file are collected before an error is raised, so that a data set is mended in one go.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.errors import DataError
from coin_lightning.tasks.sample_format import (
    TEST_FIELDS,
    TRAIN_FIELDS,
    Sample,
    TestSample,
    TrainSample,
    question_problems,
    question_sample,
    train_problems,
    train_sample,
)
from coin_lightning.tasks.sample_sequence import SampleFile, Samples
from coin_lightning.tasks.sample_table import Kind, Problems, RawSamples, images_of, sample_table
from coin_lightning.tasks.sources import JsonFile

LEARN: Kind[TrainSample] = Kind(
    "train", "training conversations", "conversations", TRAIN_FIELDS, train_problems, train_sample,
    "ids must be unique, or set data.repeated_train_ids=allow",
)  # fmt: skip
ASK: Kind[TestSample] = Kind(
    "test", "evaluation questions", "text", TEST_FIELDS, question_problems, question_sample, "ids must be unique"
)


def read_train(
    source: Path | RawSamples,
    images: Path,
    repeated_ids: str = "refuse",
    task: str = "",
    cache: Path | None = None,
) -> Samples[TrainSample]:
    """Samples of a `train.json`.

    Args:
        source: a JSON file, or the samples of another source.
        images: image root.
        repeated_ids: `refuse`, or `allow`: nothing joins on the ids of training samples.
        task: that the samples are read for.
        cache: folder that keeps what was read of a file for the next start.

    Raises:
        DataError: with every problem of the file: fields, speakers, empty answers, repeated ids, image paths.
    """
    return _without_problems(*scan_train(source, images, repeated_ids, task, cache))


def read_test(
    source: Path | RawSamples, images: Path | None, task: str = "", cache: Path | None = None
) -> Samples[TestSample]:
    """Samples of a `test.json` or `val.json`; raises as `read_train`. Without `images` nobody looks for them."""
    return _without_problems(*scan_test(source, images, task, cache))


def scan_train(
    source: Path | RawSamples,
    images: Path,
    repeated_ids: str = "refuse",
    task: str = "",
    cache: Path | None = None,
) -> tuple[SampleFile[TrainSample], Problems]:
    """All samples of a `train.json`, and what is wrong with some of them, which must not be taken.

    Raises:
        DataError: the file cannot be read, or holds samples of the other kind.
    """
    return _scan(source, images, LEARN, repeated_ids == "allow", task, cache)


def scan_test(
    source: Path | RawSamples, images: Path | None, task: str = "", cache: Path | None = None
) -> tuple[SampleFile[TestSample], Problems]:
    """As `scan_train`."""
    return _scan(source, images, ASK, False, task, cache)


def repeated(samples: Samples[Sample]) -> int:
    """How many samples have the id of an earlier sample."""
    return len(samples) - len(set(samples.ids))


def _without_problems(file: SampleFile[Sample], problems: Problems) -> Samples[Sample]:
    if problems:
        raise DataError([f"{file.where(number)}: {line}" for number in sorted(problems) for line in problems[number]])
    return Samples([file])


def _scan(
    source: Path | RawSamples, images: Path | None, kind: Kind[Sample], repeat: bool, task: str, cache: Path | None
) -> tuple[SampleFile[Sample], Problems]:
    raw = JsonFile(source) if isinstance(source, Path) else source
    table, problems = sample_table(raw, kind, cache)
    starts, numbers, written = images_of(table)
    paths, places, missing = _found(written, images)
    for at in np.flatnonzero(np.isin(numbers, list(missing))).tolist():
        sample = int(np.searchsorted(starts, at, side="right")) - 1
        problems.setdefault(sample, []).append(missing[numbers[at]])
    file = SampleFile(raw, table, starts, places[numbers], paths, kind, task)
    if len(problems) == len(file):
        _check_kind(file, kind)
    for sample, first in () if repeat else _again(file.ids):
        problems.setdefault(sample, []).append(
            f"id {file.ids[sample]!r} is already used by sample {first}; {kind.once}"
        )
    return file, problems


def _check_kind(file: SampleFile[Any], kind: Kind[Any]) -> None:
    """One sentence instead of one per sample when all samples are of the other kind."""
    other = ASK if kind.text == LEARN.text else LEARN
    values = (json.loads(text.as_py()) for text in file.table["json"])
    if all(isinstance(value, dict) and other.text in value and kind.text not in value for value in values):
        raise DataError(
            f"{file.raw.place}: holds {other.title} ({other.text!r}) where {kind.title} ({kind.text!r}) are needed; "
            "check which split is in this file"
        )


def _again(ids: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Samples whose id an earlier sample has, with the number of that sample."""
    first: dict[str, int] = {}
    for number, id_ in enumerate(ids):
        if id_ is not None and first.setdefault(id_, number) != number:
            yield number, first[id_]


def _found(written: list[str], images: Path | None) -> tuple[list[str], np.ndarray, dict[int, str]]:
    """Paths below the image root, each once; the place among them of each path as samples write it; what is wrong with
    some of those, by number.
    """
    if images is None:
        return written, np.arange(len(written)), {}
    places, problems = dict[str, int](), {}
    numbers = np.zeros(len(written), dtype=np.int64)
    for number, text in enumerate(written):
        try:
            numbers[number] = places.setdefault(image_path(text, images), len(places))
        except DataError as error:
            problems[number] = str(error)
    return list(places), numbers, problems


def image_path(written: str, images: Path) -> str:
    """Path of an image relative to the image root, from the path in a sample.

    `./` prefixes are dropped, and `.jpg.jpg` falls back to `.jpg`, as some published samples need.

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
    raise DataError(f"image {images / relative} is missing; restore it or remove the sample")
