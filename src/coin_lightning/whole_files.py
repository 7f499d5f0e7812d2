"""Files that are never seen half written: a new one takes the place of the old one whole, whenever the process dies."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


@contextmanager
def taking_place_of(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes `file` when the block ends well; otherwise the old file stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        flush(scratch)
        os.replace(scratch, file)
        flush_folder(file.parent)
    finally:
        scratch.unlink(missing_ok=True)


def flush(file: Path) -> None:
    """See a file's content onto the disk: what replaces another must not be empty after a loss of power."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """See the names of a folder's files onto the disk, where the system has that."""
    if os.name == "posix":
        flush(folder)


@contextmanager
def replacing(file: Path) -> Iterator[TextIO]:
    """A text stream (UTF-8) that becomes `file` as `taking_place_of` says.

    A lone surrogate is written as its JSON escape.
    """
    with (
        taking_place_of(file) as scratch,
        scratch.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream,
    ):
        yield stream


def write_text(file: Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(file) as stream:
        stream.write(text)


def write_json(file: Path, data: Any) -> None:
    """Write a JSON file whole.

    Raises:
        TypeError, ValueError: the data hold something that JSON cannot keep; the old file stays.
    """
    write_text(file, json_text(data))


def json_text(data: Any) -> str:
    """JSON as `write_json` writes it; raises the same."""
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder that is there or can be made; None when it can."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        return f"{there} is no folder"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written to"
