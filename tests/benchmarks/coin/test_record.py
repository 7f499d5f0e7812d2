"""What `build.json` and `skipped.json` remember."""

import json

import pytest

from coin_lightning.assets import file_sha256
from coin_lightning.benchmarks.coin.record import BuildRecord

MADE_OF = {"seed": 0, "inputs": {"a.json": "12"}}


@pytest.fixture
def noted(tmp_path) -> BuildRecord:
    """A record with one finished output."""
    file = tmp_path / "out.json"
    file.write_text("[1]")
    record = BuildRecord(tmp_path, tmp_path)
    record.note("out.json", MADE_OF, rows=1, bytes=3, sha256=file_sha256(file))
    return record


def test_a_finished_output_is_known_to_the_next_call(noted, tmp_path):
    again = BuildRecord(tmp_path, tmp_path)
    assert again.files == noted.files
    assert again.holds("out.json", MADE_OF)
    assert again.files["out.json"]["rows"] == 1
    assert not again.holds("other.json", MADE_OF)


def test_other_inputs_or_another_seed_make_it_unknown(noted):
    assert not noted.holds("out.json", {**MADE_OF, "seed": 1})
    assert not noted.holds("out.json", {**MADE_OF, "inputs": {"a.json": "13"}})


@pytest.mark.parametrize("change", ["[2]", "[12]", None])
def test_a_changed_or_lost_output_is_unknown(noted, tmp_path, change):
    (tmp_path / "out.json").unlink()
    if change:
        (tmp_path / "out.json").write_text(change)
    assert not noted.holds("out.json", MADE_OF)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 0, "files": {"out.json": {}}}', '{"version": 1, "files": 3}']
)
def test_a_damaged_or_older_record_counts_as_none(tmp_path, text):
    (tmp_path / "build.json").write_text(text)
    assert BuildRecord(tmp_path, tmp_path).files == {}


def test_skipped_records_are_listed_by_split_while_there_are_any(tmp_path):
    record = BuildRecord(tmp_path, tmp_path)
    file = tmp_path / "skipped.json"
    record.note_skipped("train", 0, [])
    assert not file.exists()
    record.note_skipped("train", 3, ["a", "b"])
    record.note_skipped("test", 1, ["c"])
    assert json.loads(file.read_text()) == {
        "train": {"count": 3, "listed": ["a", "b"]}, "test": {"count": 1, "listed": ["c"]},
    }  # fmt: skip
    record.note_skipped("train", 0, [])
    assert json.loads(file.read_text()) == {"test": {"count": 1, "listed": ["c"]}}
    record.note_skipped("test", 0, [])
    assert not file.exists()
