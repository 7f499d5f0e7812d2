"""The `judges` section of matrix.json against hand-worked numbers."""

import json
from pathlib import Path

import pytest
from fake_judge import FakeJudge, write_experience

from coin_lightning.errors import JudgeError, RunError
from coin_lightning.evaluation.judges.judging import judge_run
from coin_lightning.evaluation.judges.summary import identity_text, judges_of, own_metrics

ROWS, TASKS = ("zero_shot", "gqa", "vizwiz"), ("gqa", "vizwiz")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_experience(tmp_path, 0, "zero_shot", {"gqa": ["blue"], "vizwiz": ["?"]})
    write_experience(tmp_path, 1, "gqa", {"gqa": ["red"]})
    write_experience(tmp_path, 2, "vizwiz", {"gqa": ["blue"], "vizwiz": ["red"]})
    return tmp_path


def test_grids_metrics_and_identity(run: Path):
    judge_run(run, FakeJudge())
    section = judges_of(run, ROWS, TASKS)["fake_rule"]
    assert section["scores"] == [[30.0, None], [100.0, None], [30.0, 100.0]]
    assert section["counts"] == [[1, 1], [1, None], [1, 1]]
    assert section["unparsed"] == [[0, 1], [0, None], [0, 0]]
    metrics = section["metrics"]
    assert metrics["acc"] == 65.0
    assert metrics["learning_accuracy"] == 100.0
    assert metrics["bwt"] == -70.0
    assert metrics["bwt_coin"] == -35.0
    assert metrics["forgetting"] == 70.0
    assert metrics["fwt"] is None
    assert section["protocol"] == FakeJudge().identity()
    json.dumps(section, allow_nan=False)


def test_a_run_in_progress_has_empty_cells(run: Path):
    (run / "task_02_vizwiz" / "scores.json").unlink()
    judge_run(run, FakeJudge())
    section = judges_of(run, ROWS, TASKS)["fake_rule"]
    assert section["scores"][2] == [None, None]
    assert section["metrics"]["acc"] is None


def test_a_joint_run_has_its_own_last_row(tmp_path: Path):
    write_experience(tmp_path, 0, "zero_shot", {"gqa": ["blue"], "vizwiz": ["blue"]})
    write_experience(tmp_path, 2, "joint", {"gqa": ["red"], "vizwiz": ["red"]})
    judge_run(tmp_path, FakeJudge())
    section = judges_of(tmp_path, ("zero_shot", "gqa", "joint"), TASKS)["fake_rule"]
    assert section["scores"] == [[30.0, 30.0], [None, None], [100.0, 100.0]]
    assert section["metrics"]["acc"] == 100.0
    assert section["metrics"]["bwt"] is None


def test_judges_in_the_order_of_their_names(run: Path):
    assert judges_of(run, ROWS, TASKS) == {}
    for name in ("second", "first"):
        judge_run(run, FakeJudge(name=name))
    assert list(judges_of(run, ROWS, TASKS)) == ["first", "second"]


def test_versions_of_all_experiences_are_told(run: Path):
    with pytest.raises(JudgeError):
        judge_run(run, FakeJudge(served="m-1", name="served", dies_after=2))
    judge_run(run, FakeJudge(served="m-2", name="served"))
    assert judges_of(run, ROWS, TASKS)["served"]["protocol"]["version"] == "m-1 + m-2"


def test_the_runs_own_judge_gives_the_metrics(run: Path):
    judge_run(run, FakeJudge())
    judges = judges_of(run, ROWS, TASKS)
    own = own_metrics(judges, "fake_rule")
    assert own["judge/acc"] == 65.0
    assert set(own) == {f"judge/{key}" for key in judges["fake_rule"]["metrics"]}
    assert own_metrics(judges, None) == own_metrics(judges, "other") == own_metrics({}, "fake_rule") == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_broken_summary_is_named(run: Path, text: str):
    judge_run(run, FakeJudge())
    (run / "task_01_gqa" / "judged" / "fake_rule.json").write_text(text)
    with pytest.raises(RunError, match=r"task_01_gqa/judged/fake_rule\.json: "):
        judges_of(run, ROWS, TASKS)


def test_an_identity_in_one_line():
    protocol = {
        "judge": "hf", "model": "Qwen1.5-32B-Chat", "version": "files 12ab", "temperature": 0.7, "seed": 3,
        "variant": "reference", "prompt_sha": "00ff", "settings": {},
    }  # fmt: skip
    assert identity_text(protocol) == (
        "Qwen1.5-32B-Chat (files 12ab), temperature 0.7, seed 3, reference reading, prompt 00ff"
    )
    bare = protocol | {"version": None, "temperature": None, "seed": None, "variant": "strict"}
    assert identity_text(protocol | {"prompt_sha": None}).endswith(", seed 3, reference reading")
    assert identity_text(bare) == (
        "Qwen1.5-32B-Chat (version not stated), temperature none, seed none, strict reading, prompt 00ff"
    )
