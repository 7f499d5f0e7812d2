"""``python -m coin_lightning score``: a run is scored again without a model."""

import json
import sys
from pathlib import Path

import pytest
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

from fake_run import build_run

from coin_lightning.cli.score import asked_variant, main
from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.scorers import get_scorer

TASKS = ("imagenet", "gqa", "grounding")


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A run from before both variants were kept, two of three tasks learned."""
    return build_run(tmp_path / "run", tasks=TASKS, finished=2, answers=12, images=False, router=False)


def read(file: Path):
    return json.loads(file.read_text(encoding="utf-8"))


def untimed(run: Path) -> dict[str, bytes]:
    kept = [file for file in run.rglob("*") if file.suffix in (".json", ".jsonl", ".csv")]
    return {str(file): file.read_bytes() for file in kept}


def test_reference_scores_of_an_unfinished_run(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(old_run), "evaluation.scorers=reference"]) == 0
    printed = capsys.readouterr().out
    folder = old_run / "rescored" / "reference"
    matrix = read(folder / "matrix.json")
    for row, name in enumerate(("task_00_zero_shot", "task_01_imagenet", "task_02_gqa")):
        for column, task in enumerate(TASKS):
            file = old_run / name / "records" / f"{task}.jsonl"
            expected = get_scorer(task, "reference").score(read_records(file)).score if file.exists() else None
            assert matrix["scores"][row][column] == expected
    assert matrix["protocol"]["scorers"] == "reference"
    assert "differing samples" in printed
    assert "by the reference scorers" in printed
    assert (folder / "matrix.csv").exists()


def test_the_runs_own_numbers_stay_and_both_variants_appear(old_run: Path) -> None:
    before = read(old_run / "matrix.json")
    assert main([str(old_run), "evaluation.scorers=reference"]) == 0
    after = read(old_run / "matrix.json")
    assert after["scores"] == before["scores"] == after["variants"]["corrected"]["scores"]
    assert after["variants"]["reference"]["scores"] == read(old_run / "rescored/reference/matrix.json")["scores"]
    assert after["protocol"] == {**before["protocol"], "judge": None}
    assert all(after[key] == before[key] for key in ("seed", "method", "notes"))
    lines = (old_run / "rescored/reference/differences.jsonl").read_text().splitlines()
    assert len(lines) == sum(cell or 0 for row in after["differing"] for cell in row)
    assert (old_run / "report.html").exists()


def test_twice_is_once(old_run: Path) -> None:
    assert main([str(old_run), "evaluation.scorers=corrected"]) == 0
    before = untimed(old_run)
    assert main([str(old_run)]) == 0  # the run's own variant is the corrected one
    assert untimed(old_run) == before


def test_a_rule_that_has_changed_is_told(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = old_run / "task_01_imagenet" / "scores.json"
    content = read(file)
    was = content["scores"]["imagenet"]
    content["scores"]["imagenet"] = was + 5.0
    file.write_text(json.dumps(content))
    assert main([str(old_run)]) == 0
    printed = capsys.readouterr().out
    assert "the rules have changed since the run was scored" in printed
    assert f"experience 1, ImageNet, corrected: {was + 5:.2f} -> {was:.2f}" in printed
    assert read(old_run / "matrix.json")["scores"][1][0] == was


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_records_are_one_message_and_nothing_is_touched(
    old_run: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    file = old_run / "task_02_gqa" / "records" / "gqa.jsonl"
    if damage == "cut":
        file.write_text(file.read_text()[:-40])
    else:
        file.unlink()
    before = untimed(old_run)
    assert main([str(old_run), "evaluation.scorers=reference"]) == 1
    assert "records/gqa.jsonl" in capsys.readouterr().err
    assert untimed(old_run) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluation.scorers=generous"], "no task of the run has this scorer variant; there are corrected, reference"),
        (["evaluation.scorer=reference"], "only evaluation.scorers=VARIANT can be set"),
        (["judge=hf"], "only evaluation.scorers"),
    ],
)
def test_other_words_are_refused(
    old_run: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main([str(old_run), *words]) == 1
    assert message in capsys.readouterr().err


def test_one_variant_can_be_named():
    assert asked_variant([]) is None
    assert asked_variant(["evaluation.scorers=reference"]) == "reference"
    for words in (["reference"], ["evaluation.scorers=reference", "evaluation.scorers=corrected"]):
        with pytest.raises(ConfigError):
            asked_variant(words)


def test_no_run_and_a_run_at_work_are_refused(
    old_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nothing")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()
    with FileLock(old_run / ".lock"):
        assert main([str(old_run)]) == 1
    assert "another process is working in this run folder" in capsys.readouterr().err
