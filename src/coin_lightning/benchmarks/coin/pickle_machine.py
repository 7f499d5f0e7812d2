"""The stack machine behind `restricted_pickle`: the pickle instructions that make plain data, and no others.

An instruction is a function of the machine in the table `INSTRUCTIONS`. None of them imports, looks up or calls
anything that the data names. Python 2's byte strings are read as UTF-8.
"""

import codecs
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MARK = object()  # on the stack: here a group of items begins
_MAX_DIGITS = 25
_ESCAPED = re.compile(rb"""(?:[^\\]|\\[\\'"nrt]|\\x[0-9a-f]{2})*""")  # what Python 2's repr of a byte string is made of


class PlainPickleError(Exception):
    """The pickle is malformed, too large, or asks for more than plain data; says what and at which byte."""


@dataclass
class Machine:
    """Program, position, stack and memo of one reading."""

    data: bytes
    at: int = 0
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise PlainPickleError("the file ends in the middle of a value")
        self.at += count
        return part

    def line(self) -> bytes:
        """The bytes up to the next line end."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise PlainPickleError("the file ends in the middle of a line")
        part, self.at = self.data[self.at : end], end + 1
        return part

    def number(self, width: int, signed: bool = False) -> int:
        """The next `width` bytes as a little-endian whole number."""
        return int.from_bytes(self.take(width), "little", signed=signed)

    def pop(self) -> Any:
        """Remove and give the topmost value."""
        if not self.stack or self.stack[-1] is _MARK:
            raise PlainPickleError("a value is missing")
        return self.stack.pop()

    def group(self) -> list[Any]:
        """Remove and give the items above the last mark, and the mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise PlainPickleError("a group of items has no beginning")

    def top(self, kind: type) -> Any:
        """The topmost value, which must be a `kind`."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise PlainPickleError(f"items are added to something that is no {kind.__name__}")
        return self.stack[-1]


Instruction = Callable[[Machine], None]


def _push(read: Callable[[Machine], Any]) -> Instruction:
    def run(machine: Machine) -> None:
        machine.stack.append(read(machine))

    return run


def _sized_text(width: int) -> Instruction:
    return _push(lambda machine: machine.take(machine.number(width)).decode())


def _sized_bytes(width: int) -> Instruction:
    return _push(lambda machine: machine.take(machine.number(width)))


def _sized_whole(machine: Machine) -> int:
    width = machine.number(1)
    if width > 16:
        raise PlainPickleError(f"a number of {width} bytes")
    return machine.number(width, signed=True)


def _whole(text: bytes) -> int:
    if len(text) > _MAX_DIGITS:
        raise PlainPickleError(f"a number of {len(text)} digits")
    return int(text.removesuffix(b"L"))


def _whole_or_truth(text: bytes) -> int | bool:
    """Protocols 0 and 1 write truth values as 00 and 01."""
    return text == b"01" if text in (b"00", b"01") else _whole(text)


def _quoted(text: bytes) -> str:
    """A byte string as Python 2's `repr` wrote it."""
    text = text.strip()
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise PlainPickleError("a text has no quotes")
    if not _ESCAPED.fullmatch(text):
        raise PlainPickleError("a text has an escape that Python 2 does not write")
    return codecs.escape_decode(text[1:-1])[0].decode()


def _tuple(size: int) -> Instruction:
    def run(machine: Machine) -> None:
        items = [machine.pop() for _ in range(size)]
        machine.stack.append(tuple(reversed(items)))

    return run


def _append(machine: Machine) -> None:
    item = machine.pop()
    machine.top(list).append(item)


def _appends(machine: Machine) -> None:
    items = machine.group()
    machine.top(list).extend(items)


def _dict(machine: Machine) -> None:
    items = machine.group()
    machine.stack.append({})
    _add_items(machine, items)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _add_items(machine, [key, value])


def _add_items(machine: Machine, items: list[Any]) -> None:
    target = machine.top(dict)
    if len(items) % 2:
        raise PlainPickleError("a key has no value")
    if any(type(key) is not str for key in items[::2]):  # numbers could be chosen to collide in the hash table
        raise PlainPickleError("a key is no text")
    target.update(zip(items[::2], items[1::2], strict=True))


def _remember(read_key: Callable[[Machine], int]) -> Instruction:
    def run(machine: Machine) -> None:
        if not machine.stack or machine.stack[-1] is _MARK:
            raise PlainPickleError("nothing to remember")
        machine.memo[read_key(machine)] = machine.stack[-1]

    return run


def _drop(machine: Machine) -> None:
    if not machine.stack:
        raise PlainPickleError("nothing to drop")
    machine.stack.pop()


def _frame(machine: Machine) -> None:
    machine.take(8)  # how many bytes to read ahead: all are here already


def _protocol(machine: Machine) -> None:
    if machine.number(1) > pickle.HIGHEST_PROTOCOL:
        raise PlainPickleError("the protocol is newer than this Python's")


INSTRUCTIONS: dict[bytes, Instruction] = {
    pickle.PROTO: _protocol,
    pickle.FRAME: _frame,
    pickle.MARK: lambda machine: machine.stack.append(_MARK),
    pickle.POP: _drop,
    pickle.POP_MARK: lambda machine: machine.group().clear(),
    pickle.NONE: _push(lambda machine: None),
    pickle.NEWTRUE: _push(lambda machine: True),
    pickle.NEWFALSE: _push(lambda machine: False),
    pickle.INT: _push(lambda machine: _whole_or_truth(machine.line())),
    pickle.LONG: _push(lambda machine: _whole(machine.line())),
    pickle.BININT: _push(lambda machine: machine.number(4, signed=True)),
    pickle.BININT1: _push(lambda machine: machine.number(1)),
    pickle.BININT2: _push(lambda machine: machine.number(2)),
    pickle.LONG1: _push(_sized_whole),
    pickle.FLOAT: _push(lambda machine: float(machine.line())),
    pickle.BINFLOAT: _push(lambda machine: struct.unpack(">d", machine.take(8))[0]),
    pickle.STRING: _push(lambda machine: _quoted(machine.line())),
    pickle.BINSTRING: _sized_text(4),
    pickle.SHORT_BINSTRING: _sized_text(1),
    pickle.UNICODE: _push(lambda machine: machine.line().decode("raw-unicode-escape")),
    pickle.BINUNICODE: _sized_text(4),
    pickle.SHORT_BINUNICODE: _sized_text(1),
    pickle.BINUNICODE8: _sized_text(8),
    pickle.BINBYTES: _sized_bytes(4),
    pickle.SHORT_BINBYTES: _sized_bytes(1),
    pickle.BINBYTES8: _sized_bytes(8),
    pickle.EMPTY_LIST: _push(lambda machine: []),
    pickle.EMPTY_DICT: _push(lambda machine: {}),
    pickle.EMPTY_TUPLE: _push(lambda machine: ()),
    pickle.LIST: _push(lambda machine: machine.group()),
    pickle.TUPLE: _push(lambda machine: tuple(machine.group())),
    pickle.DICT: _dict,
    pickle.TUPLE1: _tuple(1),
    pickle.TUPLE2: _tuple(2),
    pickle.TUPLE3: _tuple(3),
    pickle.APPEND: _append,
    pickle.APPENDS: _appends,
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: lambda machine: _add_items(machine, machine.group()),
    pickle.PUT: _remember(lambda machine: _whole(machine.line())),
    pickle.BINPUT: _remember(lambda machine: machine.number(1)),
    pickle.LONG_BINPUT: _remember(lambda machine: machine.number(4)),
    pickle.MEMOIZE: _remember(lambda machine: len(machine.memo)),
    pickle.GET: _push(lambda machine: machine.memo[_whole(machine.line())]),
    pickle.BINGET: _push(lambda machine: machine.memo[machine.number(1)]),
    pickle.LONG_BINGET: _push(lambda machine: machine.memo[machine.number(4)]),
}
