"""Loading a whole JSON file, with errors that name it."""

import json
from pathlib import Path
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.text_encodings import advice, other_encoding

MISSING = "file is missing; check paths.data (or raw= of a build) and the folder and split of the task"
CUT = "the file may be cut off, fetch or build it again"
BROKEN = (ValueError, RecursionError)
"""What `json.loads` raises: the text is no JSON (or no UTF-8), has a number of thousands of digits, or is too deep."""


def load_json(file: Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: the file is missing, is no UTF-8, or is malformed; the message has line and column.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise unreadable(file, error) from None
    except UnicodeDecodeError as error:
        raise malformed(file, str(error), error.start) from None
    except BROKEN as error:
        raise malformed(file, str(error)) from None


def load_object(file: Path) -> dict[str, Any]:
    """Parse a JSON file that holds an object; raises as `load_json`, and when it holds something else."""
    data = load_json(file)
    if not isinstance(data, dict):
        raise DataError(f"{file}: must hold an object, found {type(data).__name__}; fetch or build it again")
    return data


def list_in(file: Path, key: str) -> list[Any]:
    """The list under a key of an object that a JSON file holds; raises as `load_object`, and when there is none."""
    found = load_object(file).get(key)
    if not isinstance(found, list):
        raise DataError(
            f"{file}: must hold a list under {key!r}, found {type(found).__name__}; fetch or build it again"
        )
    return found


def unreadable(file: Path, error: OSError) -> DataError:
    """The error for a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        others = sorted(file.parent.glob(f"{file.stem}[.-]*"))
        beside = f"; beside it lies {others[0].name}: rename it, or set source=datasets for parquet" if others else ""
        return DataError(f"{file}: {MISSING}{beside}")
    return DataError(f"{file}: file cannot be read ({error}); check paths.data and the file's permissions")


def malformed(file: Path, reason: str, place: int | None = None) -> DataError:
    """The error for a file that is no JSON; `place` is its first byte that is no UTF-8."""
    if encoding := other_encoding(file, place):
        return DataError(advice(file, encoding))
    return DataError(f"{file}: malformed JSON ({reason}); {CUT}")
