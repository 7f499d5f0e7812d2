"""Items of a huge JSON file one after the other: memory holds a chunk and the item at hand, never the file."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from coin_lightning.errors import DataError

CHUNK = 1 << 20
LARGEST_ITEM = 1 << 28
"""Characters of one item; a longer one is a file of another kind, or a string that nothing closes."""

_SPACE = re.compile(r"[ \t\n\r]*")
_UNCLOSED = "Unterminated string"
_IN_NUMBERS = "0123456789.eE+-"
_LONGEST_WORD = 16
"""An error at least this far before the end of the buffer is no token cut in two."""
_REMEDY = "the file may be cut off or altered; fetch it again"
_watcher: ContextVar[Callable[[int], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(report: Callable[[int], None]) -> Iterator[None]:
    """Inside the block ``report`` is told the number of bytes of every chunk that a reader of this module takes."""
    token = _watcher.set(report)
    try:
        yield
    finally:
        _watcher.reset(token)


def read_array(file: Path, key: str | None = None) -> Iterator[Any]:
    """Items of the array that the file is or, with ``key``, that its object has there.

    Raises:
        DataError: file missing, another type, no such key, or malformed or cut off (with the byte offset).
    """
    with _opened(file) as opened:
        text = _Text(file, opened)
        if key is not None:
            _to_member(text, key)
        yield from _items(text)
        if key is None:
            _finish(text)


def read_object(file: Path, key: str | None = None) -> Iterator[tuple[str, Any]]:
    """Members of the object that the file is or, with ``key``, that its object has there; raises as `read_array`."""
    with _opened(file) as opened:
        text = _Text(file, opened)
        if key is not None:
            _to_member(text, key)
        for name in _names(text):
            yield name, text.value()
        if key is None:
            _finish(text)


def read_header(file: Path, key: str) -> dict[str, Any]:
    """Members of the file's object that stand before ``key``; arrays and objects among them are passed over.

    Raises:
        DataError: as `read_array`.
    """
    found: dict[str, Any] = {}
    with _opened(file) as opened:
        _to_member(_Text(file, opened), key, found)
    return found


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except FileNotFoundError:
        raise DataError(f"{file}: file is missing; check raw= and unpack the data set's archive there") from None
    except OSError as error:
        raise DataError(f"{file}: file cannot be read ({error}); check its permissions") from None


class _Text:
    """The file's text from ``place`` on, read as far as someone looked."""

    def __init__(self, file: Path, opened: BinaryIO) -> None:
        self.file, self.opened = file, opened
        self.buffer, self.place, self.ended = "", 0, False
        self.dropped = 0  # bytes before the buffer
        self.utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self.decoder = json.JSONDecoder(parse_constant=_no_number)

    def more(self, size: int = CHUNK) -> bool:
        """Append ``size`` bytes and drop what is consumed; False at the end of the file."""
        if self.ended:
            return False
        chunk = self.opened.read(size)
        if (watcher := _watcher.get()) is not None:
            watcher(len(chunk))
        self.ended = not chunk
        self.dropped += _bytes(self.buffer[: self.place])
        try:
            self.buffer = self.buffer[self.place :] + self.utf8.decode(chunk, final=self.ended)
        except UnicodeDecodeError as error:
            offset = self.dropped + _bytes(self.buffer[self.place :]) + error.start
            raise DataError(f"{self.file}: no UTF-8 near byte {offset}; {_REMEDY}") from None
        self.place = 0
        return not self.ended

    def peek(self) -> str:
        """The next character that is no white space, not consumed; empty at the end of the file."""
        while True:
            self.place = _SPACE.match(self.buffer, self.place).end()  # type: ignore[union-attr]  # matches nothing too
            if self.place < len(self.buffer):
                return self.buffer[self.place]
            if not self.more():
                return ""

    def take(self, wanted: str) -> str:
        """Consume the next character, which must be one of ``wanted``."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.error(f"expected {' or '.join(wanted)}, found {found or 'the end of the file'}")
        self.place += 1
        return found

    def value(self) -> Any:
        """Consume and parse the next value whole."""
        self.peek()
        size = CHUNK
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.place)
            except json.JSONDecodeError as error:
                self._must_be_cut(error)
                inside = error.pos >= len(self.buffer) or error.msg.startswith(_UNCLOSED)
                ahead = 0 if inside else error.pos - self.place
                if not self.more(size):
                    self.place += ahead
                    raise self.error("the file ends inside a value" if inside else error.msg) from None
            except (ValueError, RecursionError) as error:
                raise self.error(str(error)) from None
            else:
                if not self._may_go_on(end) or not self.more(size):
                    self.place = end
                    return value
            size *= 2  # so that a large item is parsed few times over

    def _may_go_on(self, end: int) -> bool:
        """Whether what follows in the file might belong to the number that ends here: `2` of `25`, `2.5` of `2.5e3`."""
        rest = self.buffer[end : end + _LONGEST_WORD]
        return len(rest) < _LONGEST_WORD and not rest.strip(_IN_NUMBERS)

    def _must_be_cut(self, error: json.JSONDecodeError) -> None:
        """Raise unless more text could mend the value."""
        long = len(self.buffer) - self.place > LARGEST_ITEM
        whole = error.pos < len(self.buffer) - _LONGEST_WORD and not error.msg.startswith(_UNCLOSED)
        if long or whole:
            self.place = error.pos
            raise self.error(f"one value is longer than {LARGEST_ITEM} characters" if long else error.msg)

    def error(self, what: str) -> DataError:
        """The error for the present place."""
        offset = self.dropped + _bytes(self.buffer[: self.place])
        return DataError(f"{self.file}: malformed JSON at byte {offset} ({what}); {_REMEDY}")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _items(text: _Text) -> Iterator[Any]:
    _open(text, "[", "an array")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.take(",]") == "]":
            return


def _names(text: _Text) -> Iterator[str]:
    """Names of an object's members; whoever gets one consumes the member's value before the next."""
    _open(text, "{", "an object")
    if text.peek() == "}":
        text.take("}")
        return
    while True:
        if text.peek() != '"':
            text.take('"')
        name = text.value()
        text.take(":")
        yield name
        if text.take(",}") == "}":
            return


def _open(text: _Text, bracket: str, kind: str) -> None:
    found = text.peek()
    if found != bracket:
        what = {"": "nothing", "[": "an array", "{": "an object"}.get(found, f"a value that begins with {found}")
        offset = text.dropped + _bytes(text.buffer[: text.place])
        raise DataError(f"{text.file}: must hold {kind} at byte {offset}, found {what}; is it another file?")
    text.take(bracket)


def _to_member(text: _Text, key: str, header: dict[str, Any] | None = None) -> None:
    """Consume the object up to the value of ``key``."""
    seen = []
    for name in _names(text):
        if name == key:
            return
        seen.append(name)
        if text.peek() in ("[", "{"):
            _skip(text)
        else:
            value = text.value()
            if header is not None:
                header[name] = value
    raise DataError(
        f"{text.file}: has no member {key!r}, only {', '.join(map(repr, seen)) or 'none'}; is it another file?"
    )


def _skip(text: _Text) -> None:
    if text.peek() == "[":
        for _ in _items(text):
            pass
    else:
        for _ in _names(text):
            text.value()


def _finish(text: _Text) -> None:
    if text.peek():
        raise text.error("more text after the end of the data")
