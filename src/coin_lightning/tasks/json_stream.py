"""Items of a JSON list one after the other, each with its place in the file, in bounded memory.

A window of decoded text moves over the file. Items are parsed by the standard library's scanner, so that a file is
taken or refused exactly as by `json.load`.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from coin_lightning.errors import DataError
from coin_lightning.tasks.json_files import load_json, malformed

SPACE = re.compile(r"[ \t\n\r]*")
COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
MARK = "\ufeff"
EDGE = 16
"""More than the characters of any literal (`-Infinity`), escape (a pair of `\\uXXXX`) or beginning of an exponent."""
parse = json.JSONDecoder().raw_decode


class Item(NamedTuple):
    """A value of the list with its first byte and its length in bytes."""

    offset: int
    size: int
    value: Any


def list_items(file: Path, pieces: Iterable[bytes]) -> Iterator[Item]:
    """Items of the list that the file holds, or of its lines where it has an object on each (JSON lines).

    A byte order mark is passed over.

    Args:
        file: for messages.
        pieces: the file's bytes in order, in parts of any size.

    Raises:
        DataError: at the place where the file is no JSON, with line and column; or it holds no list, or an empty one.
    """
    window = Window(file, pieces)
    window.pass_mark()
    if window.symbol() == "{":
        yield from _lines(window)
        return
    if window.symbol() != "[":
        raise no_list(file, type(load_json(file)).__name__)
    window.take(1)
    if window.symbol() == "]":
        raise no_list(file, "list")
    while True:
        window.symbol()
        yield from window.plain_items()
        yield window.item()
        mark = window.symbol()
        if mark not in (",", "]"):
            raise window.malformed("Expecting ',' delimiter", window.at)
        window.take(1)
        if mark == "]":
            break
    if window.symbol():
        raise window.malformed("Extra data", window.at)


def _lines(window: "Window") -> Iterator[Item]:
    """Objects behind one another; a file that holds but one is no list of rows."""
    first = window.item()
    if not window.symbol():
        raise no_list(window.file, "dict")
    yield first
    while window.symbol():
        yield window.item()


def no_list(file: Path, found: str) -> DataError:
    """The error for a file without rows."""
    return DataError(f"{file}: must hold a non-empty list of rows, found {found}")


class Window:
    """The part of a file's text that is being looked at.

    Attributes:
        text: decoded characters.
        at: the next one, as an index into `text`; `offset` is its byte in the file.
    """

    def __init__(self, file: Path, pieces: Iterable[bytes]) -> None:
        self.file, self.pieces = file, iter(pieces)
        self.text, self.at, self.offset = "", 0, 0
        self.finished = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._fed = 0
        self._characters, self._line, self._column = 0, 1, 1  # place of text[0] in the file

    def pass_mark(self) -> None:
        """Go past a byte order mark at the beginning of the file."""
        while not self.text and not self.finished:
            self.grow()
        if self.text.startswith(MARK):
            self.at, self.offset = 1, len(MARK.encode())

    def symbol(self) -> str:
        """The next character that is no space, which stays where it is; empty at the end of the file."""
        while True:
            self.take(SPACE.match(self.text, self.at).end() - self.at)  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if self.finished:
                return ""
            self.grow()

    def take(self, count: int) -> None:
        """Go past so many spaces, brackets or commas."""
        self.at += count
        self.offset += count

    def item(self) -> Item:
        """Parse the value that starts here and go past it.

        Raises:
            DataError: there is none. What stands at the window's edge may only be cut there; a text without end, too.
        """
        while True:
            try:
                value, end = parse(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.pos + EDGE > len(self.text) or error.msg.startswith("Unterminated string")
                if self.finished or not cut:
                    raise self.malformed(error.msg, error.pos) from None
            except RecursionError as error:
                raise malformed(self.file, str(error)) from None
            else:
                if end + EDGE <= len(self.text) or self.finished:  # at the window's edge a number may go on
                    return Item(self.offset, self._go(end), value)
            self.grow()

    def plain_items(self) -> Iterator[Item]:
        """Items from here on, as many as stand in the window with the commas behind them; nearly all do."""
        text, at, limit, ascii_only = self.text, self.at, len(self.text) - EDGE, self.text.isascii()
        while True:
            try:
                value, end = parse(text, at)
            except (json.JSONDecodeError, RecursionError):
                return
            comma = COMMA.match(text, end)
            if comma is None or comma.end() > limit:
                return
            size = end - at if ascii_only else len(text[at:end].encode())
            yield Item(self.offset, size, value)
            at = self.at = comma.end()
            self.offset += size + at - end

    def grow(self) -> None:
        """Drop what lies behind and add at least as much as is left, so that a long value costs linear time."""
        self._drop()
        parts, wanted, added = [self.text], max(1, len(self.text)), 0
        while added < wanted and not self.finished:
            parts.append(self._decode(next(self.pieces, b"")))
            added += len(parts[-1])
        self.text = "".join(parts)

    def malformed(self, reason: str, at: int) -> DataError:
        """The error for a problem at `text[at]`, in the words of `json`."""
        before = self.text[:at]
        breaks = before.count("\n")
        column = at - before.rfind("\n") if breaks else self._column + at
        place = f"line {self._line + breaks} column {column} (char {self._characters + at})"
        return malformed(self.file, f"{reason}: {place}")

    def _decode(self, piece: bytes) -> str:
        self.finished = not piece
        self._fed += len(piece)
        try:
            return self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            place = self._fed - len(error.object) + error.start
            raise malformed(self.file, f"'utf-8' codec cannot decode byte {place}: {error.reason}", place) from None

    def _go(self, end: int) -> int:
        """Go to `text[end]`; gives the bytes on the way."""
        count = end - self.at if self.text.isascii() else len(self.text[self.at : end].encode())
        self.at, self.offset = end, self.offset + count
        return count

    def _drop(self) -> None:
        gone = self.text[: self.at]
        breaks = gone.count("\n")
        self._column = self.at - gone.rfind("\n") if breaks else self._column + self.at
        self._line += breaks
        self._characters += self.at
        self.text, self.at = self.text[self.at :], 0
