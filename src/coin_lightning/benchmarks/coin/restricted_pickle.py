"""Reads pickles of plain data (RefCOCO's `refs(*).p`) such that no file can run code.

Only dicts with text keys, lists, tuples, texts, bytes, numbers, truth values and None are made. Whatever names a class
or a function, calls one or changes an object is refused by name. The public files were written by Python 2 and need
nothing else.
"""

import io
import pickle
import struct
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from coin_lightning.errors import DataError

MAX_BYTES = 256 * 2**20  # the public files have some 40 MB
MAX_VALUES = 10_000_000  # counted along every path, so shared parts count as often as they are met
MAX_DEPTH = 16  # references -> reference -> sentences -> sentence -> tokens are five
REFUSED = (
    "REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER",
    "READONLY_BUFFER", "BYTEARRAY8", "EMPTY_SET", "ADDITEMS", "FROZENSET", "LONG4",
)  # fmt: skip
"""Instructions that call or change anything, beside those that name it; and some that no such file has."""
MALFORMED = (
    pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, struct.error, Warning,
)  # fmt: skip
"""What the unpickler raises where a program makes no sense."""
_ALLOWED = "only dict, list, tuple, text, bytes, numbers, truth values and None are read"


class PlainPickleError(Exception):
    """The pickle is malformed, too large, or asks for more than plain data."""


def _refuse(name: str, machine: Any) -> None:
    raise PlainPickleError(f"instruction {name} is refused, {_ALLOWED}")


class _PlainUnpickler(pickle._Unpickler):
    """Python's own unpickler, without what is refused. The version written in Python: that in C keeps its memo in an
    array, whose memory a few bytes of a file can ask for."""

    dispatch: ClassVar[dict[int, Callable[..., Any]]] = {
        **pickle._Unpickler.dispatch,
        **{getattr(pickle, name)[0]: partial(_refuse, name) for name in REFUSED},
    }

    def find_class(self, module: str, name: str) -> Any:
        """Refuse."""
        raise PlainPickleError(f"global {_name(module, name)} is refused, {_ALLOWED}")


def load_plain(file: Path, max_bytes: int = MAX_BYTES) -> Any:
    """The plain data of a pickle file.

    Args:
        file: a pickle of any protocol (0 to 5).
        max_bytes: a larger file is refused unread.

    Raises:
        DataError: the file is missing, malformed or too large, names a class or function (the message has it), nests
            deeper than `MAX_DEPTH`, or unfolds to more than `MAX_VALUES` values.
    """
    file = Path(file)
    try:
        size = file.stat().st_size
        if size > max_bytes:
            raise DataError(f"{file}: {size} bytes are more than the {max_bytes} allowed; is this the right file?")
        return loads_plain(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: file is missing; check raw and that the archive was unpacked there") from None
    except OSError as error:
        raise DataError(f"{file}: file cannot be read ({error}); check its permissions") from None
    except PlainPickleError as error:
        raise DataError(f"{file}: {error}; nothing of it was run, fetch the file again from its publisher") from None


def loads_plain(data: bytes) -> Any:
    """The plain data of a pickle in memory; Python 2's byte strings are read as UTF-8.

    Raises:
        PlainPickleError: where `load_plain` raises `DataError`.
    """
    try:
        with warnings.catch_warnings(action="error"):  # an escape that Python 2 does not write is only warned of
            value = _PlainUnpickler(io.BytesIO(data), encoding="utf-8").load()
    except EOFError:
        raise PlainPickleError("the file ends before its data does") from None
    except MALFORMED as error:
        raise PlainPickleError(f"malformed ({type(error).__name__}: {error})") from None
    return _within_bounds(value)


def _name(*parts: str) -> str:
    """The dotted name of a global, cut, and without anything that a terminal would obey."""
    name = ".".join(part[:60] for part in parts)
    return name if name.isprintable() else ascii(name)


def _within_bounds(value: Any) -> Any:
    """The value, after a walk along every path: nothing nests too deep, in a circle, or shared beyond measure."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if any(type(key) is not str for key in item):
                    raise PlainPickleError(f"a key is no text, {_ALLOWED}")
                inner += item.values()
            elif isinstance(item, list | tuple):
                inner += item
            if len(inner) + count > MAX_VALUES:
                raise PlainPickleError(f"the data unfolds to more than {MAX_VALUES} values")
        count += len(inner)
        level = [item for item in inner if isinstance(item, dict | list | tuple)]
        if not level:
            return value
    raise PlainPickleError(f"containers nest more than {MAX_DEPTH} deep")
