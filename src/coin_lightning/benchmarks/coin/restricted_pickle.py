"""Reads pickles of plain data (RefCOCO's `refs(*).p`) without Python's unpickler, so that no file can run code.

Only dicts with text keys, lists, tuples, texts, bytes, numbers, truth values and None are made. Whatever names a class
or a function, or calls one, is refused by name. The public files were written by Python 2 and need nothing else.
"""

import pickle
import struct
from pathlib import Path
from typing import Any

from coin_lightning.benchmarks.coin.pickle_machine import INSTRUCTIONS, Machine, PlainPickleError
from coin_lightning.errors import DataError

MAX_BYTES = 256 * 2**20  # the public files have some 40 MB
MAX_INSTRUCTIONS = 20_000_000  # the 142,210 sentences of RefCOCO need about six million
MAX_VALUES = 10_000_000  # counted along every path, so shared parts count as often as they are met
MAX_DEPTH = 16  # references -> reference -> sentences -> sentence -> tokens are five
_RUN = {code[0]: run for code, run in INSTRUCTIONS.items()}  # a byte of the program is a number
_CODES = {value: name for name, value in vars(pickle).items() if name.isupper() and isinstance(value, bytes)}
_ALLOWED = "only dict, list, tuple, text, bytes, numbers, truth values and None are read"


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
    """The plain data of a pickle in memory.

    Raises:
        PlainPickleError: where `load_plain` raises `DataError`.
    """
    machine = Machine(data)
    for _ in range(MAX_INSTRUCTIONS):
        start = machine.at
        try:
            run = _RUN.get(data[start])
            machine.at = start + 1
            if run is None:
                return _last(machine, data[start : start + 1])
            run(machine)
        except PlainPickleError as error:
            raise PlainPickleError(f"byte {start}: {error}") from None
        except IndexError:
            raise PlainPickleError(f"byte {start}: the file ends before its data does") from None
        except (ValueError, KeyError, struct.error) as error:
            raise PlainPickleError(f"byte {start}: malformed ({type(error).__name__}: {error})") from None
    raise PlainPickleError(f"more than {MAX_INSTRUCTIONS} instructions")


def _last(machine: Machine, code: bytes) -> Any:
    """The value at the end of the program; raises for an instruction that is not the end."""
    if code != pickle.STOP:
        raise PlainPickleError(_refusal(machine, code))
    return _within_bounds(machine.pop())


def _refusal(machine: Machine, code: bytes) -> str:
    """Why an instruction outside the table is refused, with the class or function it names."""
    if code in (pickle.GLOBAL, pickle.INST):
        return f"global {_name(machine.line(), machine.line())} is refused, {_ALLOWED}"
    if code == pickle.STACK_GLOBAL:
        return f"global {_name(*machine.stack[-2:])} is refused, {_ALLOWED}"
    return f"instruction {_CODES.get(code, repr(code))} is refused, {_ALLOWED}"


def _name(*parts: Any) -> str:
    """The dotted name of a global, cut, and without anything that a terminal would obey."""
    texts = [part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in parts]
    name = ".".join(text[:60] if isinstance(text, str) else type(text).__name__ for text in texts)
    return name if name.isprintable() else ascii(name)


def _within_bounds(value: Any) -> Any:
    """The value, after a walk along every path: nothing nests too deep, in a circle, or shared beyond measure."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
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
