"""The bar over the answers of a run, and the lines in a log."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from coin_lightning.cli import judge_progress
from coin_lightning.cli.judge_progress import JudgeProgress
from coin_lightning.errors import RunError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for index, counts in enumerate([{"gqa": 3, "vizwiz": 2}, {"gqa": 3}]):
        folder = tmp_path / f"task_{index:02d}_x"
        folder.mkdir()
        (folder / "scores.json").write_text(json.dumps({"counts": counts, "scores": dict.fromkeys(counts, 50.0)}))
    return tmp_path


def play(console: Console, run: Path) -> JudgeProgress:
    with JudgeProgress(console, run) as progress:
        for task, total in (("gqa", 3), ("vizwiz", 2), ("gqa", 3)):
            for done in range(1, total + 1):
                progress.report(task, done, total)
    return progress


def test_the_bar_ends_where_the_answers_end(run: Path):
    progress = play(Console(file=io.StringIO(), force_terminal=True, width=100), run)
    assert progress.total == 8
    assert progress.before == 8
    assert progress.bar.tasks[0].completed == 8
    assert progress.bar.finished


def test_a_log_gets_a_line_now_and_then(run: Path, monkeypatch: pytest.MonkeyPatch):
    seconds = iter(range(0, 1000, 7))
    monkeypatch.setattr(judge_progress.time, "monotonic", lambda: next(seconds))
    log = io.StringIO()
    play(Console(file=log, width=100), run)
    lines = log.getvalue().splitlines()
    assert 1 <= len(lines) < 8
    assert all(line.startswith("judging ") and line.endswith(" of 8 answers") for line in lines)


def test_a_quick_judge_leaves_no_line(run: Path):
    log = io.StringIO()
    play(Console(file=log, width=100), run)
    assert log.getvalue() == ""


def test_a_run_without_answers_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="nothing to judge"):
        JudgeProgress(Console(file=io.StringIO()), tmp_path)
