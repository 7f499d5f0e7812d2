"""A judge in a training run: its numbers are there, and its failure costs nothing."""

import json
from pathlib import Path

import pytest

JUDGE = ("judge._target_=probes.FixedJudge",)
TASKS = "imagenet,textvqa"


def read(file: Path):
    return json.loads(file.read_text())


def files(run: Path, *patterns: str) -> dict[Path, bytes]:
    return {file: file.read_bytes() for pattern in patterns for file in run.glob(pattern)}


@pytest.fixture(scope="module")
def unjudged(place) -> Path:
    """A run whose judge breaks down in the middle."""
    status, text = place.runs.run(place.command("unjudged", *JUDGE, "+judge.answers=6", tasks=TASKS))
    assert status == 0, text
    (place.folder / "unjudged.txt").write_text(text)
    return place.folder / "unjudged"


def test_training_and_scoring_went_on_and_the_gap_is_shown(place, unjudged: Path):
    matrix = read(unjudged / "matrix.json")
    assert [sum(cell is not None for cell in row) for row in matrix["scores"]] == [2, 1, 2]
    cells = matrix["judges"]["fixed_seven"]["scores"]
    assert cells[0][0] == 70
    assert cells[2] == [None, None]
    assert matrix["metrics"]["judge/acc"] is None
    text = (place.folder / "unjudged.txt").read_text()
    assert "judge: the server does not answer" in text
    assert f"python -m coin_lightning judge {unjudged}" in text


def test_the_same_command_makes_up_for_it_without_a_model(place, unjudged: Path):
    before = files(unjudged, "task_*/scores.json", "task_*/records/*.jsonl", "task_*/adapter/*", "matrix.csv")
    status, text = place.runs.run(place.command("unjudged", *JUDGE, tasks=TASKS))
    assert status == 0, text
    assert "learning" not in text
    assert "answering" not in text
    matrix = read(unjudged / "matrix.json")
    assert matrix["judges"]["fixed_seven"]["scores"] == [[70, 70], [70, None], [70, 70]]
    assert matrix["metrics"]["judge/acc"] == pytest.approx(70)
    assert matrix["protocol"]["judge"] == "fixed_seven"
    assert files(unjudged, "task_*/scores.json", "task_*/records/*.jsonl", "task_*/adapter/*", "matrix.csv") == before
    state = {file: file.stat().st_mtime_ns for file in unjudged.rglob("*") if file.is_file()}
    assert place.runs.run(place.command("unjudged", *JUDGE, tasks=TASKS))[0] == 0
    assert {file: file.stat().st_mtime_ns for file in unjudged.rglob("*") if file.is_file()} == state


def test_another_variant_is_another_judge_beside_the_runs_own(place, unjudged: Path):
    status, text = place.runs.run(place.command("unjudged", *JUDGE, "+judge.variant=reference", tasks=TASKS))
    assert status == 0, text
    assert set(read(unjudged / "matrix.json")["judges"]) == {"fixed_seven", "fixed_seven_reference"}
    assert read(unjudged / "matrix.json")["protocol"]["judge"] == "fixed_seven"
