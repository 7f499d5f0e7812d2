"""Judging inside a run: what is missing, and a judge that fails."""

import json
from pathlib import Path

import pytest

from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.run_files import read_json
from coin_lightning.whole_files import write_json
from probes import FixedJudge


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two tasks, zero-shot and the first experience scored."""
    made = RunDir(tmp_path / "run", ["gqa", "vizwiz"])
    for index, tasks in ((0, ["gqa", "vizwiz"]), (1, ["gqa"])):
        for task in tasks:
            record = {"task": task, "question_id": "1", "prompt": f"What is {task} {index}?\nShort.", "prediction": "a",
                      "reference": {"answer": "b"}}  # fmt: skip
            file = made.folder(index) / "records" / f"{task}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record) + "\n")
        content = {"scores": dict.fromkeys(tasks, 0.0), "counts": dict.fromkeys(tasks, 1), "seconds": 1.0}
        write_json(made.folder(index) / "scores.json", content)
    return made


def test_without_a_judge_nothing_is_missing(run: RunDir):
    judging = RunJudge(run, None)
    assert judging.experience(0)
    assert judging.missing() == []
    assert not judging.rest()


def test_an_experience_is_judged_and_the_judge_closed(run: RunDir):
    judge, seen = FixedJudge(), []
    judging = RunJudge(run, judge, lambda task, done, total: seen.append((task, done, total)))
    assert judging.missing() == [0, 1]
    assert judging.experience(0)
    assert judging.missing() == [1]
    assert seen[-1] == ("vizwiz", 1, 1)
    assert judge.closed == 1
    assert judging.rest()
    assert judging.missing() == []
    assert run.write_summary({"protocol": {"judge": judge.name}}).rows == ("zero_shot", "gqa", "vizwiz")
    section = read_json(run.path / "matrix.json")["judges"][judge.name]
    assert section["scores"] == [[70, 70], [70, None], [None, None]]
    assert run.summary_is_current()


def test_a_judge_that_fails_is_told_and_made_up_for(run: RunDir):
    warnings: list[str] = []
    assert not RunJudge(run, FixedJudge(answers=1), warn=warnings.append).experience(0)
    assert len(warnings) == 1
    assert "judge: the server does not answer" in warnings[0]
    assert f"python -m coin_lightning judge {run.path}" in warnings[0]
    judging = RunJudge(run, FixedJudge())
    assert judging.missing() == [0, 1]
    assert judging.rest()
    assert judging.missing() == []


def test_the_rest_stops_at_the_first_failure(run: RunDir):
    warnings: list[str] = []
    RunJudge(run, FixedJudge(answers=0), warn=warnings.append).rest()
    assert len(warnings) == 1


def test_own_metrics_come_with_the_judge_of_a_finished_run(run: RunDir):
    write_json(run.path / "matrix.json", {"seed": 0, "protocol": {"judge": None}})
    judge = FixedJudge()
    RunJudge(run, judge).rest()
    run.refresh(judge=judge.name)
    written = read_json(run.path / "matrix.json")
    assert written["protocol"]["judge"] == judge.name
    assert written["metrics"]["judge/zero_shot"] == pytest.approx(70)
    assert written["seed"] == 0
