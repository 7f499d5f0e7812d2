"""What a file that is no UTF-8 probably is, and how to convert it."""

import codecs
from pathlib import Path
from typing import BinaryIO

HEAD = 1 << 16
"""Bytes that are looked at."""


def other_encoding(file: Path, place: int | None = None) -> str | None:
    """Name of the encoding that a file is probably in; None where it is UTF-8 with a damage, or nobody can tell.

    Args:
        file: may be missing.
        place: first byte that is no UTF-8, if one is known.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            around = head if place is None or place < HEAD - 1024 else _read_at(stream, place - 1024)
    except OSError:
        return None
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "UTF-16"
    if 0 in head[:2]:
        return "UTF-16BE" if head[0] == 0 else "UTF-16LE"
    if place is None or _is_damaged_utf8(around):
        return None
    return "GB18030" if _decodes(around, "gb18030") else "WINDOWS-1252"


def _read_at(stream: BinaryIO, place: int) -> bytes:
    stream.seek(place)
    return stream.read(HEAD).lstrip(bytes(range(0x80, 0xC0)))  # it may begin within a character


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether most of what is not ASCII is UTF-8: another encoding hardly ever looks like it."""
    kept = sum(not character.isascii() for character in data.decode("utf-8", "ignore"))
    lost = data.decode("utf-8", "replace").count("\ufffd")
    return kept > lost


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)  # the end may be cut
    except UnicodeDecodeError:
        return False
    return True


def advice(file: Path, encoding: str) -> str:
    """What is wrong with a file in another encoding, and the command that mends it."""
    return (
        f"{file}: is no UTF-8, probably {encoding}; convert it with: "
        f"iconv -f {encoding} -t UTF-8 {file} > {file}.utf8 && mv {file}.utf8 {file}"
    )
