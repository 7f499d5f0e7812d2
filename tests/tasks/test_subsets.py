"""Drawn and listed subsets."""

import json
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks.sample_format import TestSample
from coin_lightning.tasks.sample_sequence import as_samples
from coin_lightning.tasks.subsets import chunks, draw, drawn, listed, subset


def test_a_subset_depends_on_its_key_only_and_keeps_the_files_order():
    samples = list(range(100))
    taken = draw(samples, 0.25, None, "0/gqa/train")
    assert len(taken) == 25
    assert taken == sorted(taken) == draw(samples, 0.25, None, "0/gqa/train")
    assert taken != draw(samples, 0.25, None, "1/gqa/train")
    assert taken != draw(samples, 0.25, None, "0/vqav2/train")


def test_draws_of_earlier_versions_are_drawn_again():
    """Results are compared across versions: these positions were drawn before samples were read lazily."""
    assert drawn(40, 0.5, None, "7/toy/train") == [
        0, 2, 5, 9, 12, 13, 14, 15, 16, 24, 27, 28, 29, 31, 32, 33, 34, 35, 37, 38,
    ]  # fmt: skip
    assert drawn(17, 1.0, 9, "7/toy/test") == [1, 3, 4, 8, 9, 10, 13, 14, 16]
    slim = drawn(100_000, 1.0, 4000, "0/ocrvqa/test")
    assert (len(slim), slim[:6]) == (4000, [37, 40, 42, 47, 55, 60])


@pytest.mark.parametrize(
    ("fraction", "limit", "count"),
    [(1.0, None, 10), (1.0, 99, 10), (0.5, None, 5), (0.5, 3, 3), (0.01, None, 1), (0.25, 9, 2)],
)
def test_sizes_of_subsets(fraction, limit, count):
    assert len(draw(range(10), fraction, limit, "k")) == count
    assert (drawn(10, fraction, limit, "k") is None) == (count == 10)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4, 0.6, 0.8])
def test_volumes_of_the_paper(fraction):
    assert len(draw(range(72_140), fraction, None, "0/gqa/train")) == round(72_140 * fraction)


@pytest.mark.parametrize(("fraction", "limit"), [(0.0, None), (1.01, None), (-1, None), (1.0, 0), (float("nan"), None)])
def test_senseless_subsets_are_refused(fraction, limit):
    with pytest.raises(DataError, match=r"fraction=.* must lie in \(0, 1\]"):
        draw(range(10), fraction, limit, "k")


SAMPLES = as_samples([TestSample(str(at), "q", (), {}, f"sample {at}") for at in range(10)])


def put(folder: Path, content: object, name: str = "ids.json") -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


@pytest.mark.parametrize(
    "content", [{"gqa": [7, "2", 3], "other": [99]}, [7, 2, 3], {"gqa": {"test": {"ids": ["3", "2", "7"]}}}]
)
def test_listed_ids_are_taken_in_the_files_order(tmp_path, content):
    assert listed(SAMPLES, put(tmp_path, content), "gqa") == [2, 3, 7]


def test_a_text_file_and_the_file_of_a_run_that_used_all(tmp_path):
    assert listed(SAMPLES, put(tmp_path, " 7\n\n2\n", "ids.txt"), "gqa") == [2, 7]
    everything = {"gqa": {"train": {"of": 3, "ids": None}, "test": {"of": 10, "ids": None}}}
    assert listed(SAMPLES, put(tmp_path, everything), "gqa") == list(range(10))


def test_ids_that_no_sample_has_are_all_named(tmp_path):
    file = put(tmp_path, {"gqa": [7, "77", 5, "x", 7]})
    with pytest.raises(DataError) as refusal:
        listed(SAMPLES, file, "gqa")
    assert refusal.value.problems == [
        f"{file}: gqa has no sample with id '77'",
        f"{file}: gqa has no sample with id 'x'",
        f"{file}: gqa lists id '7' more than once",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"vqav2": [1]}, "has no list of ids for gqa, only for vqav2"),
        ({"gqa": []}, "must hold a non-empty list of ids for gqa"),
        ({"gqa": [1.5]}, "must hold a non-empty list of ids"),
        ({"gqa": {"train": {}}}, "must hold a non-empty list of ids"),
        ('{"gqa": [1', "malformed JSON"),
        ("3", "must hold a non-empty list"),
    ],
)
def test_lists_that_are_none(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        listed(SAMPLES, put(tmp_path, content), "gqa")


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: file is missing"):
        listed(SAMPLES, tmp_path / "none.json", "gqa")
    with pytest.raises(DataError, match=r"none\.txt: the list of ids cannot be read"):
        listed(SAMPLES, tmp_path / "none.txt", "gqa")


def test_what_is_written_down_of_a_subset():
    assert subset(SAMPLES, 10) == {"of": 10, "ids": None}
    assert subset(SAMPLES.select([3, 1]), 10) == {"of": 10, "ids": ["3", "1"]}


def test_chunks():
    assert [list(part) for part in chunks(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []
