"""Rows as readers give them, and finding files in a raw folder."""

import pytest

from coin_lightning.benchmarks.coin.gqa import RAW
from coin_lightning.benchmarks.coin.raw_row import RawRow, first_of, needed
from coin_lightning.errors import DataError


def test_a_row_needs_no_fields_and_cannot_be_changed():
    row = RawRow(3, None, "Why?", "so")
    assert row.group is None
    assert dict(row.fields) == {}
    with pytest.raises(AttributeError):
        row.answer = "no"  # type: ignore[misc]


def test_splits_are_train_and_the_evaluation_file():
    assert RAW.splits == ("train", "test")


def test_the_first_place_that_exists_is_taken(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    assert first_of(tmp_path, ("a", "b", "c")) == tmp_path / "b"
    assert first_of(tmp_path, ("a",)) is None
    assert needed(tmp_path, ("c", "b"), "the thing") == tmp_path / "c"
    with pytest.raises(DataError, match="the thing is missing; looked for a, x/y"):
        needed(tmp_path, ("a", "x/y"), "the thing")
