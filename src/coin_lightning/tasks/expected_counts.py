"""How many samples a task's files should have, and who says so."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.json_files import load_object

MANIFEST, BUILD = "manifest.json", "build.json"
ROUNDED = 0.05
"""Relative distance up to which a count agrees with one that is only known as a round number."""


@dataclass(frozen=True)
class Expected:
    """A number of samples.

    Attributes:
        source: who says so, in words.
        certainty: `built` (recorded when the data was made), `JSON count`, `secondary` or `from memory`.
        rounded: only a round number is known.
    """

    count: int
    source: str
    certainty: str
    rounded: bool = False

    def agrees(self, found: int) -> bool:
        """Equal, or near a round number."""
        return abs(found - self.count) <= ROUNDED * self.count if self.rounded else found == self.count


def expected_counts(task: str, files: Mapping[str, Path], root: Path, published: bool) -> dict[str, list[Expected]]:
    """What is known about both files of a task: `{"train": [...], "test": [...]}`, the surest first.

    Args:
        task: key of the task.
        files: its train and test file.
        root: data root; `manifest.json` of an embedded suite and `build/<Task>/build.json` in it are believed.
        published: add the numbers of publications (`published_numbers.md`, section 1.1).

    Raises:
        DataError: a record in the root is garbled.
    """
    known = _published(task) if published else {}
    return {
        split: [*_manifest(root, split, file), *_build(root, file), *known.get(split, [])]
        for split, file in files.items()
    }


@cache
def _table() -> dict[str, Any]:
    text = (files("coin_lightning.tasks") / "expected_counts.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _published(task: str) -> dict[str, list[Expected]]:
    table = _table()
    return {
        split: [_entry(table["sources"], entry) for entry in entries]
        for split, entries in table["counts"].get(task, {}).items()
    }


def _entry(sources: Mapping[str, str], entry: Mapping[str, Any]) -> Expected:
    names = "; ".join(sources[key] for key in entry["source"].split(", "))
    source = f"{entry['what']}: {names}" if "what" in entry else names
    return Expected(entry["count"], source, entry["certainty"], entry.get("rounded", False))


def _manifest(root: Path, split: str, file: Path) -> Iterator[Expected]:
    """Of CoIN-mini: `counts -> <Task> -> train|test -> samples`."""
    yield from _recorded(root / MANIFEST, "counts", file.parent.name, split)


def _build(root: Path, file: Path) -> Iterator[Expected]:
    """Of `cli.data build`: `files -> <path below the root> -> samples`."""
    if file.is_relative_to(root):
        yield from _recorded(root / "build" / file.parent.name / BUILD, "files", file.relative_to(root).as_posix())


def _recorded(record: Path, *keys: str) -> Iterator[Expected]:
    found: Any = load_object(record) if record.is_file() else {}
    for key in keys:
        found = found.get(key, {})
        if not isinstance(found, dict):
            raise DataError(f"{record}: {key!r} must be an object; remove the file or build the data again")
    if isinstance(found.get("rows"), int):
        yield Expected(found["rows"], record.name, "built")
