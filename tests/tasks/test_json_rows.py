"""Rows decoded on access, and a file that may not change meanwhile."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks import json_rows
from coin_lightning.tasks.json_rows import JsonRows, KeptFile

ROWS = [{"id": at, "text": "ü" * at} for at in range(50)]


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    return tmp_path / "rows.json"


@pytest.mark.parametrize("piece", [7, 1 << 23])
def test_rows_come_in_order_once_and_then_by_number(file, monkeypatch, piece):
    monkeypatch.setattr(json_rows, "PIECE", piece)
    rows = JsonRows(file)
    assert list(rows.scan()) == ROWS
    assert len(rows) == 50
    assert [rows[index] for index in (49, 0, 20)] == [ROWS[49], ROWS[0], ROWS[20]]
    assert rows.where(3) == f"{file} row 3"
    assert rows.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert list(rows.scan()) == ROWS
    assert len(rows) == 50  # not twice as many


def test_hash_and_name_are_known_before_a_scan(file):
    assert JsonRows(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (JsonRows(file).name, JsonRows(file).place) == ("rows.json", str(file))


def test_they_travel_to_other_processes(file):
    rows = JsonRows(file)
    assert list(rows.scan()) == ROWS
    assert pickle.loads(pickle.dumps(rows))[17] == ROWS[17]


def test_a_replaced_file_does_not_matter_and_a_changed_one_is_refused(file):
    rows = JsonRows(file)
    assert list(rows.scan()) == ROWS
    other = file.with_name("other.json")
    other.write_text("[]")
    os.replace(other, file)
    assert rows[5] == ROWS[5]
    again = JsonRows(file)
    file.write_text('[{"id": 1}]')
    assert list(again.scan()) == [{"id": 1}]
    file.write_text('[{"id": 222}]')
    with pytest.raises(DataError, match=r"rows\.json: was changed while it was in use"):
        again[0]
    with pytest.raises(DataError, match="was changed"):
        KeptFile(file, (1, 2)).read(1, 0)


def test_no_descriptor_stays_open(file):
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    for _ in range(20):
        rows = JsonRows(file)
        next(rows.scan())
    del rows
    assert before is None or len(os.listdir("/proc/self/fd")) <= before


def test_files_that_cannot_be_read(tmp_path):
    for name, words in (("none.json", "file is missing"), (".", "file cannot be read")):
        with pytest.raises(DataError, match=words):
            list(JsonRows(tmp_path / name).scan())
