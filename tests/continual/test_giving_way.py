"""Sizes of batches that may change in mid-run, and those that may not."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.continual.giving_way import Change, gives_way, notes
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import RunError

GQA = "scenario.tasks.gqa.batches.size"
EXACT = {"global_batch": 8, "loss_weighting": "exact"}


def config(protocol: dict[str, Any] = EXACT, joint: bool = False) -> dict[str, Any]:
    return {"protocol": protocol, "scenario": {"joint": joint}}


@pytest.mark.parametrize(
    ("key", "given", "may"),
    [
        ("answers.batch_size", config({"global_batch": None}), True),
        ("scenario.tasks.gqa.answers.batch_size", config({"global_batch": None}), True),
        ("scenario.tasks.gqa.answers.max_new_tokens", config(), False),
        (GQA, config(), True),
        (GQA, config({**EXACT, "global_batch": {"gqa": 8}}), True),
        (GQA, config({**EXACT, "global_batch": {"vqav2": 8}}), False),
        (GQA, config({**EXACT, "global_batch": None}), False),
        (GQA, config({**EXACT, "loss_weighting": "micro_batch"}), False),
        (GQA, config({"global_batch": None}, joint=True), True),  # of batches that a joint run does not make
        ("scenario.batches.size", config(joint=True), True),
        ("scenario.batches.size", config({**EXACT, "global_batch": None}, joint=True), False),
        ("scenario.batches.size", config({"global_batch": None}), True),
        ("backbone.max_length", config(), False),
    ],
)
def test_what_gives_way(key: str, given: dict[str, Any], may: bool) -> None:
    assert gives_way(Change(key, 4, 2), given) is may


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Started with batches of four."""
    run = RunDir(tmp_path, ["scienceqa", "gqa"])
    run.claim(whole(4))
    (run.folder(1)).mkdir()
    (run.folder(1) / "train.json").write_text("{}")
    return run


def whole(size: int, **protocol: Any) -> dict[str, Any]:
    tasks = {name: {"name": name, "batches": {"size": size}} for name in ("scienceqa", "gqa")}
    scenario = {"joint": False, "tasks": tasks, "batches": {"size": size}}
    return {"protocol": {**EXACT, **protocol}, "scenario": scenario, "batches": {"size": size}}


def test_a_change_is_taken_over_and_kept(run: RunDir) -> None:
    run.compare(whole(2))
    assert not (run.path / "changes.json").exists()
    run.claim(whole(2))
    run.claim(whole(2))
    run.claim(whole(1))
    changes = json.loads((run.path / "changes.json").read_text())
    assert [(each["key"], each["old"], each["new"]) for each in changes["changes"] if each["key"] == GQA] == [
        (GQA, 4, 2),
        (GQA, 2, 1),
    ]
    assert run.change_notes() == notes(changes)
    assert [note.split(":")[0] for note in run.change_notes()] == [
        "batches.size went from 4 to 2 at task_00_zero_shot", "batches.size went from 2 to 1 at task_00_zero_shot",
    ]  # fmt: skip


def test_in_the_middle_of_a_task_it_is_not(run: RunDir) -> None:
    (run.folder(1) / "last.ckpt").write_text("")
    with pytest.raises(RunError, match=r"remove .*task_01_scienceqa/last\.ckpt to learn it from its beginning"):
        run.claim(whole(2))
    assert not (run.path / "changes.json").exists()


def test_what_may_not_change_is_told_with_the_condition(run: RunDir) -> None:
    with pytest.raises(
        RunError, match=r"global_batch: 8 -> None(?s:.*)protocol\.global_batch sets the samples of a step"
    ):
        run.claim(whole(2, global_batch=None))
