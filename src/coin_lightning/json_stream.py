"""Items of a large JSON file one after the other, parsed by `ijson`: memory holds a piece and the item at hand.

The parser takes JSON as RFC 8259 has it (no `NaN`), integers of at most 64 bits, and the last of equal keys.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from coin_lightning.errors import DataError
from coin_lightning.json_files import load_json, malformed, unreadable

PIECE = 1 << 18
"""Bytes read at once."""
OPTIONS: dict[str, Any] = {"use_float": True, "buf_size": PIECE}
EDGE = 64
"""Bytes at the ends of a piece that are looked at with the piece beside it."""
KINDS = {"[": "an array", "{": "an object", "": "nothing"}
_LONE = re.compile(rb"\\u(?:[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u)[dD][c-fC-F])", re.DOTALL)
"""Half of a character, escaped (a lone surrogate); the parser would read a question mark."""
_DEEP = re.compile(rb'(?:[\[{]\s*(?:"\w*"\s*:\s*)?){500}')
"""Brackets within brackets, for each of which the parser keeps the whole path to it: memory without end."""
_watcher: ContextVar[Callable[[int], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(on_progress: Callable[[int], None]) -> Iterator[None]:
    """Inside the block ``on_progress`` is told how many bytes each piece has that a reader of this module takes."""
    token = _watcher.set(on_progress)
    try:
        yield
    finally:
        _watcher.reset(token)


def read_array(file: Path, key: str | None = None) -> Iterator[Any]:
    """Items of the array that the file is or, with ``key``, that its object has there.

    Raises:
        DataError: file missing, another type, no such key, or malformed or cut off behind so many items.
    """
    return _read(file, "[", key, lambda opened: ijson.items(opened, f"{key}.item" if key else "item", **OPTIONS))


def read_object(file: Path, key: str | None = None) -> Iterator[tuple[str, Any]]:
    """Members of the object that the file is or, with ``key``, that its object has there; raises as `read_array`."""
    return _read(file, "{", key, lambda opened: ijson.kvitems(opened, key or "", **OPTIONS))


def read_header(file: Path, key: str) -> dict[str, Any]:
    """Members of the file's object that stand before ``key``; arrays and objects among them are passed over.

    Raises:
        DataError: as `read_array`.
    """
    found: dict[str, Any] = {}
    for prefix, event, value in _read(file, "{", None, lambda opened: ijson.parse(opened, **OPTIONS)):
        if (prefix, event, value) == ("", "map_key", key):
            break
        if prefix and "." not in prefix and event in ("null", "boolean", "number", "string"):
            found[prefix] = value
    return found


def read_samples(file: Path) -> Iterator[Any]:
    """Items of the array that the file is, or the objects behind one another in it (JSON lines).

    Raises:
        DataError: as `read_array`; the file holds neither, or no item.
    """
    lines = _begins_with(file) == "{"
    if not lines and _begins_with(file) != "[":
        raise _no_samples(file, type(load_json(file)).__name__)
    items = _read(
        file, "", None, lambda opened: ijson.items(opened, "" if lines else "item", multiple_values=lines, **OPTIONS)
    )
    head = list(islice(items, 2))
    if len(head) < 1 + lines:  # one object alone is no list
        raise _no_samples(file, "dict" if lines else "list")
    yield from head
    yield from items


def _read(file: Path, bracket: str, key: str | None, parser: Callable[[Any], Iterator[Any]]) -> Iterator[Any]:
    """What a parser makes of a file; its errors name it."""
    found, wanted, count = _begins_with(file), "{" if key else bracket, 0
    if wanted and found != wanted:
        raise _another(file, wanted, found)
    _check_text(file)
    with _opened(file) as opened:
        try:
            for item in parser(_Watched(opened)):
                yield item
                count += 1
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise _damaged(file, str(error), count) from None
    if key and not count:
        _check_member(file, key, bracket)


class _Watched:
    """A file whose reader is watched."""

    def __init__(self, opened: BinaryIO) -> None:
        self.opened = opened

    def read(self, size: int) -> bytes:
        """At most so many bytes."""
        piece = self.opened.read(size)
        if (watcher := _watcher.get()) is not None:
            watcher(len(piece))
        return piece


def _opened(file: Path) -> BinaryIO:
    """The file behind its byte order mark."""
    try:
        opened = file.open("rb")
        if opened.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            opened.seek(0)
    except OSError as error:
        raise unreadable(file, error) from None
    return opened


def _begins_with(file: Path) -> str:
    """The first character that is no space, as far as it is ASCII; empty when there is none."""
    with _opened(file) as opened:
        return opened.read(PIECE).lstrip()[:1].decode("ascii", "replace")


def _check_text(file: Path) -> None:
    """What the parser would take without a word, or never come back from."""
    with file.open("rb") as opened:
        text, place, piece = b"", 0, None
        while piece != b"":
            piece = opened.read(PIECE)
            text += piece
            ahead = len(text) - EDGE if piece else len(text)
            if _DEEP.search(text):
                raise malformed(file, "brackets stand 500 deep within each other, which no data set needs")
            for match in _LONE.finditer(text):
                before = text[: match.start()]
                escaped = (len(before) - len(before.rstrip(b"\\"))) % 2  # the backslash is a letter itself
                if (EDGE if place else 0) <= match.start() < ahead and not escaped:
                    raise DataError(
                        f"{file}: has half a character (a lone surrogate) at byte {place + match.start()}, behind "
                        f"{before[-40:].decode(errors='replace')!r}; write the text anew"
                    )
            place += max(0, len(text) - 2 * EDGE)
            text = text[-2 * EDGE :]


def _check_member(file: Path, key: str, bracket: str) -> None:
    """Refuse an object in which nothing was found under a key, unless it has an empty list or object there."""
    names = []
    with _opened(file) as opened:
        for prefix, event, value in ijson.parse(opened, **OPTIONS):
            names += [value] if (prefix, event) == ("", "map_key") else []
            if prefix == key:
                if event == {"[": "start_array", "{": "start_map"}[bracket]:
                    return
                raise DataError(f"{file}: must hold {KINDS[bracket]} under {key!r}; is it another file?")
    raise DataError(f"{file}: has no member {key!r}, only {', '.join(map(repr, names)) or 'none'}; is it another file?")


def _damaged(file: Path, words: str, count: int) -> DataError:
    """The error for what the parser says in `words`: a reason, the text around the place, and an arrow."""
    decoder, place = codecs.getincrementaldecoder("utf-8")(), 0
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                place += error.start - (len(error.object) - len(piece))
                return malformed(file, f"no UTF-8 at byte {place}", place)
            place += len(piece)
    reason, *around = words.strip().splitlines()
    text = f", near {around[0].strip()!r}" if around and around[0].strip() else ""
    return malformed(file, f"behind item {count}: {reason.rstrip('.')}{text}")


def _another(file: Path, wanted: str, found: str) -> DataError:
    what = KINDS.get(found, f"a value that begins with {found}")
    return DataError(f"{file}: must hold {KINDS[wanted]}, found {what}; is it another file?")


def _no_samples(file: Path, found: str) -> DataError:
    return DataError(f"{file}: must hold a non-empty list of samples, found {found}")
