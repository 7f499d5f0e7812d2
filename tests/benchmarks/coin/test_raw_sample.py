"""Samples as readers give them, and finding files in a raw folder."""

import pytest

from coin_lightning.benchmarks.coin.gqa import RAW
from coin_lightning.benchmarks.coin.raw_sample import RawSample, first_of, needed
from coin_lightning.errors import DataError


def test_a_sample_needs_no_fields_and_cannot_be_changed():
    sample = RawSample(3, None, "Why?", "so")
    assert sample.group is None
    assert dict(sample.fields) == {}
    with pytest.raises(AttributeError):
        sample.answer = "no"  # type: ignore[misc]


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
