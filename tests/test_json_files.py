"""Whole JSON files, and the errors that name them."""

import pytest

from coin_lightning.errors import DataError
from coin_lightning.json_files import load_json, load_object


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: file is missing; check paths\.data"):
        load_json(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(DataError, match=r"latin\.json: is no UTF-8, probably WINDOWS-1252; convert it with: iconv"):
        load_json(tmp_path / "latin.json")
    with pytest.raises(DataError, match="cannot be read"):
        load_json(tmp_path)


@pytest.mark.parametrize("text", ["", '{"a": 1', "[" * 100_000, '{"a": 1} x'])
def test_files_that_are_no_json(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(
        DataError, match=r"x\.json: malformed JSON .*; the file may be cut off, fetch or build it again"
    ):
        load_json(tmp_path / "x.json")


def test_an_object_and_something_else(tmp_path):
    (tmp_path / "x.json").write_text('{"a": [1, "ü"]}')
    assert load_object(tmp_path / "x.json") == {"a": [1, "ü"]}
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(DataError, match=r"x\.json: must hold an object, found list"):
        load_object(tmp_path / "x.json")


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / "x.json").write_text('{"a": "ü"}', encoding="utf-8-sig")
    assert load_object(tmp_path / "x.json") == {"a": "ü"}


def test_a_file_of_another_kind_beside_the_missing_one_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(DataError, match=r"file is missing; .* beside it lies train\.jsonl: rename it"):
        load_json(tmp_path / "train.json")
