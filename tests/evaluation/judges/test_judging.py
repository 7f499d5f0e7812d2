"""Experiences and whole runs: summaries, failures, kills, and judges side by side."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_judge import FakeJudge, lines, write_experience

from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.errors import ConfigError, DataError, JudgeError, RunError
from coin_lightning.evaluation.judges.judging import check_judge, evaluated, forget, judge_experience, judge_run
from coin_lightning.evaluation.judges.prompts import prompt_sha

HERE = Path(__file__).parent


def summary(folder: Path, judge: str = "fake_rule") -> dict:
    return json.loads((folder / "judged" / f"{judge}.json").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Zero-shot and two tasks, the second one still without scores."""
    path = tmp_path / "run"
    write_experience(path, 0, "zero_shot", {"gqa": ["blue", "blue"], "vizwiz": ["?", "red"]})
    write_experience(path, 1, "gqa", {"gqa": ["red", "blue"]})
    (write_experience(path, 2, "vizwiz", {"gqa": ["red"], "vizwiz": ["red"]}) / "scores.json").unlink()
    return path


def test_the_summary_of_an_experience(run: Path):
    folder = run / "task_00_zero_shot"
    found = judge_experience(folder, ["gqa", "vizwiz"], FakeJudge())
    assert found == summary(folder)
    assert found.pop("seconds") >= 0
    assert found == {
        "judge": "fake", "model": "rule", "version": "1", "temperature": 0.0, "seed": None, "variant": "strict",
        "prompt_sha": prompt_sha(), "settings": {}, "scores": {"gqa": 30.0, "vizwiz": 100.0},
        "counts": {"gqa": 2, "vizwiz": 2}, "unparsed": {"gqa": 0, "vizwiz": 1},
    }  # fmt: skip


def test_a_task_of_which_nothing_could_be_read_has_no_score(run: Path):
    found = judge_experience(run / "task_01_gqa", ["gqa"], FakeJudge(lambda _: "no idea"))
    assert (found["scores"], found["counts"], found["unparsed"]) == ({"gqa": None}, {"gqa": 2}, {"gqa": 2})


def test_a_run_is_judged_where_it_was_evaluated(run: Path):
    judge, seen = FakeJudge(), []
    folders = judge_run(run, judge, lambda *told: seen.append(told))
    assert [folder.name for folder in folders] == ["task_00_zero_shot", "task_01_gqa"]
    assert seen == [("gqa", 1, 2), ("gqa", 2, 2), ("vizwiz", 1, 2), ("vizwiz", 2, 2), ("gqa", 2, 2)]
    assert len(judge.asked) == 5  # "blue" to question 1 was known from zero-shot
    assert judge.closed == 1
    assert not (run / "task_02_vizwiz" / "judged").exists()


def test_an_unchanged_summary_is_not_written_again(run: Path):
    judge_run(run, FakeJudge())
    file = run / "task_01_gqa" / "judged" / "fake_rule.json"
    before = file.stat().st_mtime_ns
    judge = FakeJudge()
    judge_run(run, judge)
    assert judge.asked == []
    assert file.stat().st_mtime_ns == before


def test_a_failure_keeps_what_is_complete_and_every_reply(run: Path):
    dying = FakeJudge(dies_after=3)
    with pytest.raises(JudgeError, match="the server is gone"):
        judge_run(run, dying)
    assert dying.closed == 1
    folder = run / "task_00_zero_shot"
    assert summary(folder)["scores"] == {"gqa": 30.0}
    assert len(lines(folder, "fake_rule", "vizwiz")) == 1
    second = FakeJudge()
    judge_run(run, second)
    assert len(second.asked) == 2
    assert summary(folder)["scores"] == {"gqa": 30.0, "vizwiz": 100.0}
    assert summary(folder)["seconds"] >= 0


def test_a_failure_before_the_first_task_is_complete_writes_no_summary(run: Path):
    with pytest.raises(JudgeError):
        judge_run(run, FakeJudge(dies_after=1))
    assert not (run / "task_00_zero_shot" / "judged" / "fake_rule.json").exists()
    assert len(lines(run / "task_00_zero_shot", "fake_rule", "gqa")) == 1


def test_what_is_answered_anew_is_judged_anew_and_what_is_the_same_is_not_asked_again(run: Path):
    judge_run(run, FakeJudge())
    folder = run / "task_00_zero_shot"
    before = summary(folder)
    forget(folder, ["gqa"])
    assert summary(folder)["counts"] == {"vizwiz": 2}
    assert RunJudge(RunDir(run, ["gqa", "vizwiz"]), FakeJudge()).missing() == [0]
    judge = FakeJudge()
    judge_run(run, judge)
    assert (summary(folder)["scores"], judge.asked) == (before["scores"], [])


def test_two_judges_stand_side_by_side(run: Path):
    judge_run(run, FakeJudge())
    judge_run(run, FakeJudge(lambda _: "7", model="seven"))
    assert summary(run / "task_01_gqa")["scores"] == {"gqa": 65.0}
    assert summary(run / "task_01_gqa", "fake_seven")["scores"] == {"gqa": 70.0}


def test_another_judge_of_the_same_name_is_refused_with_the_differences(run: Path):
    judge_run(run, FakeJudge(name="mine"))
    other = FakeJudge(name="mine", model="other", temperature=0.7)
    with pytest.raises(ConfigError) as refusal:
        judge_run(run, other)
    text = str(refusal.value)
    assert "  model: 'rule' -> 'other'\n  temperature: 0.0 -> 0.7\n" in text
    assert "judge.name=" in text
    assert other.asked == []
    check_judge(run, FakeJudge(name="mine"))
    check_judge(run, FakeJudge(name="yours", model="other"))


def test_another_wording_of_the_prompt_is_another_judge(run: Path, monkeypatch: pytest.MonkeyPatch):
    judge_run(run, FakeJudge())
    monkeypatch.setattr("coin_lightning.evaluation.judges.prompts.SYSTEM", "Be strict.")
    with pytest.raises(ConfigError, match="prompt_sha"):
        check_judge(run, FakeJudge())


def test_versions_that_only_replies_tell(run: Path):
    with pytest.raises(JudgeError):
        judge_run(run, FakeJudge(served="m-2024", dies_after=4, name="served"))
    judge_run(run, FakeJudge(served="m-2025", name="served"))
    assert summary(run / "task_00_zero_shot", "served")["version"] == "m-2024"
    assert summary(run / "task_01_gqa", "served")["version"] == "m-2024 + m-2025"


def test_a_run_without_scores_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="nothing to judge"):
        judge_run(tmp_path, FakeJudge())
    with pytest.raises(RunError, match="nothing to judge"):
        evaluated(tmp_path / "nowhere")


def test_missing_answers_are_named(run: Path):
    (run / "task_01_gqa" / "records" / "gqa.jsonl").unlink()
    with pytest.raises(DataError, match=r"gqa\.jsonl: is missing"):
        judge_run(run, FakeJudge())


def test_a_broken_summary_is_named_with_the_remedy(run: Path):
    judge_run(run, FakeJudge())
    file = run / "task_01_gqa" / "judged" / "fake_rule.json"
    file.write_text("{")
    with pytest.raises(RunError, match=r"fake_rule\.json: cannot be read .*replies are kept"):
        judge_run(run, FakeJudge())
    file.unlink()
    judge = FakeJudge()
    judge_run(run, judge)
    assert judge.asked == []
    assert summary(run / "task_01_gqa")["scores"] == {"gqa": 65.0}


SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fake_judge import FakeJudge, exact
from coin_lightning.evaluation.judges.judging import judge_run
asked = 0
def slowly(record):
    global asked
    asked += 1
    time.sleep(0.005 if asked < 100 else 3600)  # never done, however late the kill comes
    return exact(record)
judge_run(Path(sys.argv[1]), FakeJudge(slowly))
"""


def test_a_killed_process_loses_nothing_that_was_answered(tmp_path: Path):
    run = tmp_path / "run"
    folder = write_experience(run, 0, "zero_shot", {"gqa": ["red", "blue"] * 100})
    file = folder / "judged" / "fake_rule" / "gqa.jsonl"
    with subprocess.Popen([sys.executable, "-c", SLOW, str(run), str(HERE)]) as process:
        while not (file.exists() and file.read_bytes().count(b"\n") >= 5):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    kept = file.read_bytes().count(b"\n")
    assert 5 <= kept < 200
    judge = FakeJudge()
    judge_run(run, judge)
    assert len(judge.asked) == 200 - kept
    assert summary(folder)["scores"] == {"gqa": 65.0}
