"""How many samples a file should have, and whose word counts."""

import json
from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin.record import BuildRecord
from coin_lightning.errors import DataError
from coin_lightning.tasks.expected_counts import Expected, expected_counts

TASKS = ("scienceqa", "textvqa", "imagenet", "gqa", "vizwiz", "grounding", "vqav2", "ocrvqa")


def known(task: str, tmp_path: Path, published: bool = True, folder: str = "X") -> dict[str, list[Expected]]:
    place = tmp_path / "Instructions_Original" / folder
    return expected_counts(task, {"train": place / "train.json", "test": place / "val.json"}, tmp_path, published)


def built(tmp_path: Path, folder: str, **samples: int) -> Path:
    """A record of `cli.data build`."""
    file = tmp_path / "build" / folder / "build.json"
    file.parent.mkdir(parents=True)
    names = {f"Instructions_Original/{folder}/{split}.json": {"rows": count} for split, count in samples.items()}
    file.write_text(json.dumps({"version": 1, "files": names}))
    return file


def test_the_published_numbers(tmp_path):
    found = {task: {split: known(task, tmp_path)[split][0] for split in ("train", "test")} for task in TASKS}
    assert {task: (entry["train"].count, entry["test"].count) for task, entry in found.items()} == {
        "scienceqa": (12726, 4241), "textvqa": (34602, 5000), "imagenet": (129833, 5050), "gqa": (72140, 12578),
        "vizwiz": (20000, 4000), "grounding": (55000, 30969), "vqav2": (82783, 107000), "ocrvqa": (166043, 100000),
    }  # fmt: skip
    assert found["scienceqa"]["train"].certainty == "JSON count"
    assert found["grounding"]["test"].certainty == "secondary"
    remembered = [(task, split) for task in TASKS for split in found[task] if found[task][split].rounded]
    assert remembered == [
        ("vizwiz", "train"), ("vizwiz", "test"), ("grounding", "train"), ("vqav2", "test"), ("ocrvqa", "test")
    ]  # fmt: skip


def test_sources_are_words_and_say_what_the_number_is(tmp_path):
    slim = known("imagenet", tmp_path)["test"][1]
    assert slim.source.startswith("the authors' slim test: the authors' raw result files")
    both = known("textvqa", tmp_path)["train"][0].source
    assert both == "third-party reproduction of CoIN, counted in the released JSON; " + (
        "published table of data set sizes (secondary)"
    )


@pytest.mark.parametrize(
    ("rounded", "found", "agrees"),
    [(False, 100, True), (False, 101, False), (True, 104, True), (True, 95, True), (True, 106, False)],
)
def test_only_a_round_number_leaves_room(rounded, found, agrees):
    assert Expected(100, "somebody", "secondary", rounded).agrees(found) is agrees


def test_what_was_recorded_when_the_data_was_made_comes_first(tmp_path):
    (tmp_path / "manifest.json").write_text(
        json.dumps({"counts": {"GQA": {"train": {"rows": 20, "images": 3}, "test": {"rows": 4, "images": 4}}}})
    )
    built(tmp_path, "GQA", train=21, val=5, test=77)
    found = known("gqa", tmp_path, folder="GQA")
    assert [(each.count, each.source) for each in found["train"][:2]] == [(20, "manifest.json"), (21, "build.json")]
    assert [each.count for each in found["test"]] == [4, 5, 12578, 4000, 1000]
    assert [each.certainty for each in found["test"][:3]] == ["built", "built", "JSON count"]
    assert [each.count for each in known("gqa", tmp_path, False, "GQA")["train"]] == [20, 21]
    assert known("mine", tmp_path, False, "Mine") == {"train": [], "test": []}


def test_the_record_of_a_real_build_is_understood(tmp_path):
    record = BuildRecord(tmp_path, tmp_path / "build" / "GQA")
    record.folder.mkdir(parents=True)
    record.note("Instructions_Original/GQA/train.json", {"seed": 0}, rows=31, bytes=5, sha256="x")
    assert [each.count for each in known("gqa", tmp_path, False, "GQA")["train"]] == [31]


def test_a_task_of_ones_own_has_no_expectation(tmp_path):
    assert known("mine", tmp_path) == {"train": [], "test": []}


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"files": [1]}', '{"files": {"Instructions_Original/GQA/train.json": 3}}']
)
def test_a_garbled_record_is_a_data_error(tmp_path, text):
    built(tmp_path, "GQA").write_text(text)
    with pytest.raises(DataError, match=r"build\.json"):
        known("gqa", tmp_path, folder="GQA")
