"""Reading CoIN's JSON files (`coin_reference.md` section 3.2) and refusing everything in them that cannot be used.

All problems of a file are collected before an error is raised, so that a data set is mended in one go.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from coin_lightning.backbones.prompts import IMAGE, Turn
from coin_lightning.errors import DataError

Row = TypeVar("Row")
SPEAKERS = ("human", "gpt")


@dataclass(frozen=True)
class TrainRow:
    """A conversation to learn from. `where` names file and row for messages."""

    id: str
    turns: tuple[Turn, ...]
    image: str | None
    where: str


@dataclass(frozen=True)
class TestRow:
    """A question to answer. `fields` are the data set's own row fields without text and id."""

    __test__ = False  # not a pytest class

    id: str
    text: str
    image: str | None
    fields: dict[str, Any]
    where: str


def load_json(file: Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: the file is missing, is no UTF-8, or is malformed; the message has line and column.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: file is missing; check paths.data and the task's folder and split") from None
    except OSError as error:
        raise DataError(f"{file}: file cannot be read ({error}); check paths.data and the file's permissions") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{file}: malformed JSON ({error}); the file may be cut off, fetch or build it again") from None


def load_object(file: Path) -> dict[str, Any]:
    """Parse a JSON file that holds an object; raises as `load_json`, and when it holds something else."""
    data = load_json(file)
    if not isinstance(data, dict):
        raise DataError(f"{file}: must hold an object, found {type(data).__name__}; fetch or build it again")
    return data


def read_train(file: Path, images: Path) -> list[TrainRow]:
    """Rows of a `train.json`.

    Raises:
        DataError: with every problem of the file: fields, speakers, empty answers, repeated ids, picture paths.
    """
    return _read(file, images, _train_row)


def read_test(file: Path, images: Path) -> list[TestRow]:
    """Rows of a `test.json` or `val.json`; raises as `read_train`."""
    return _read(file, images, _test_row)


def _read(file: Path, images: Path, parse: Any) -> list[Any]:
    data = load_json(file)
    if not isinstance(data, list) or not data:
        raise DataError(f"{file}: must hold a non-empty list of rows, found {type(data).__name__}")
    rows: list[Any] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for index, raw in enumerate(data):
        where = f"{file} row {index}"
        try:
            row = parse(raw, images, where)
        except DataError as error:
            problems += error.problems
            continue
        if row.id in seen:
            problems.append(f"{where}: id {row.id!r} is already used by row {seen[row.id]}; ids must be unique")
        seen.setdefault(row.id, index)
        rows.append(row)
    if problems:
        raise DataError(problems)
    return rows


def _identity(raw: Any, where: str) -> str:
    if not isinstance(raw, dict):
        raise DataError(f"{where}: must be an object, found {type(raw).__name__}")
    for key in ("question_id", "id"):
        if isinstance(raw.get(key), str | int) and str(raw[key]):
            return str(raw[key])
    raise DataError(f"{where}: field 'question_id' or 'id' is missing or empty")


def _train_row(raw: Any, images: Path, where: str) -> TrainRow:
    identity = _identity(raw, where)
    problems = []
    turns = []
    conversation = raw.get("conversations")
    if not isinstance(conversation, list) or not conversation or len(conversation) % 2:
        raise DataError(f"{where}: field 'conversations' must be a list of question and answer pairs")
    for position, part in enumerate(conversation):
        speaker = SPEAKERS[position % 2]
        if not isinstance(part, dict) or part.get("from") != speaker or not isinstance(part.get("value"), str):
            problems.append(f"{where}: conversations[{position}] must be {{'from': {speaker!r}, 'value': text}}")
        elif not part["value"].strip():
            problems.append(
                f"{where}: conversations[{position}] has an empty {'question' if position % 2 == 0 else 'answer'}"
            )
        elif speaker == "gpt" and IMAGE in part["value"]:
            problems.append(
                f"{where}: conversations[{position}] has {IMAGE} in an answer; only a question can show one"
            )
    image, trouble = picture_path(raw, images, where)
    problems += trouble
    if problems:
        raise DataError(problems)
    for question, answer in zip(conversation[::2], conversation[1::2], strict=True):
        turns.append(Turn(question["value"], answer["value"].strip()))
    return TrainRow(identity, tuple(turns), image, where)


def _test_row(raw: Any, images: Path, where: str) -> TestRow:
    identity = _identity(raw, where)
    image, problems = picture_path(raw, images, where)
    text = raw.get("text")
    if not isinstance(text, str) or not text.strip():
        problems.append(f"{where}: field 'text' is missing or empty")
    if problems:
        raise DataError(problems)
    fields = {key: value for key, value in raw.items() if key not in ("question_id", "id", "text", "image")}
    return TestRow(identity, raw["text"], image, fields, where)


def picture_path(raw: dict[str, Any], images: Path, where: str) -> tuple[str | None, list[str]]:
    """Path of the row's picture relative to the image root, and the problems with it.

    `./` prefixes are dropped, and `.jpg.jpg` falls back to `.jpg`, as some published rows need.
    """
    value = raw.get("image")
    if value is None:
        return None, []
    if not isinstance(value, str) or not value:
        return None, [f"{where}: field 'image' must be a path, found {value!r}"]
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value:
        return None, [f"{where}: image {value!r} leaves the image folder {images}; use a relative path inside it"]
    relative = str(path)
    if not _is_file(images / relative):
        shorter = relative.removesuffix(".jpg")
        if not relative.endswith(".jpg.jpg") or not _is_file(images / shorter):
            return None, [f"{where}: image {images / relative} is missing; restore it or remove the row"]
        relative = shorter
    return relative, []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long
        return False


def draw(rows: Sequence[Row], fraction: float, limit: int | None, key: str) -> list[Row]:
    """A subset in the file's order: `fraction` of the rows (at least one), at most `limit`, drawn with `key` as seed.

    Raises:
        DataError: the fraction is outside (0, 1] or the limit is not positive.
    """
    if not 0 < fraction <= 1 or (limit is not None and limit < 1):
        raise DataError(f"{key}: fraction={fraction} must lie in (0, 1] and limit={limit} be null or at least 1")
    count = max(1, round(len(rows) * fraction))
    count = count if limit is None else min(count, limit)
    if count >= len(rows):
        return list(rows)
    return [rows[index] for index in sorted(random.Random(key).sample(range(len(rows)), count))]


def chunks(items: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Consecutive slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
