"""Guessing what a file that is no UTF-8 is."""

from pathlib import Path

import pytest

from coin_lightning.text_encodings import HEAD, other_encoding

CHINESE = '["\u4ec0\u4e48\u989c\u8272\uff1f", "\u7ea2\u8272"]'


def first_bad(data: bytes) -> int | None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return None


@pytest.mark.parametrize(
    ("data", "guess"),
    [
        (CHINESE.encode("gbk"), "GB18030"),
        (CHINESE.encode("utf-16"), "UTF-16"),
        (CHINESE.encode("utf-16-le"), "UTF-16LE"),
        (CHINESE.encode("utf-16-be"), "UTF-16BE"),
        ('["caf\u00e9"]'.encode("cp1252"), "WINDOWS-1252"),
        (CHINESE.encode(), None),
        (CHINESE.encode()[:-5], None),
        (CHINESE.encode().replace(b"\x89", b"", 1), None),
        (b" " * 3 * HEAD + CHINESE.encode("gbk"), "GB18030"),
        (CHINESE.encode() * HEAD + b"\xff", None),
        (b"", None),
    ],
)
def test_guesses(tmp_path: Path, data: bytes, guess: str | None):
    (tmp_path / "x.json").write_bytes(data)
    assert other_encoding(tmp_path / "x.json", first_bad(data)) == guess


def test_a_missing_file_is_no_guess(tmp_path):
    assert other_encoding(tmp_path / "none.json", 3) is None
