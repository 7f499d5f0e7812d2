"""Read records and fields of JSON artefacts with errors that name the file and the field."""

import json
from pathlib import Path
from typing import Any

from coin_lightning.errors import DataError, RunError
from coin_lightning.json_files import BROKEN
from coin_lightning.manifest import check
from coin_lightning.run_files import RECORDS

_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "an integer", float: "a number"}


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, one per non-empty line.

    Raises:
        RunError: the file is missing, or a line is not a JSON object.
        DataError: it is not what was written.
    """
    try:
        raw = path.read_bytes()
        lines = raw.decode().split("\n")
    except FileNotFoundError:
        raise RunError(f"{path}: is missing; {RECORDS}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); {RECORDS}") from error
    found = [_parse_line(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    check(path, raw, RECORDS, DataError)
    return found


def field(content: dict[str, Any], path: Path, key: str, kind: type) -> Any:
    """``content[key]``, checked to be of ``kind`` (integers pass as floats, booleans never as numbers).

    Raises:
        RunError: the key is missing or its value is of another kind.
    """
    value = content.get(key)
    allowed: tuple[type, ...] = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise RunError(f"{path}: field '{key}' is {value!r}, expected {_KINDS.get(kind, kind.__name__)}.")
    return value


def _parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except BROKEN as error:
        raise RunError(f"{path}: line {number} is not JSON ({error}); {RECORDS}") from error
    if not isinstance(row, dict):
        raise RunError(f"{path}: line {number} holds a {type(row).__name__}, expected an object; {RECORDS}")
    return row
