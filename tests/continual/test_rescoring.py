"""Scoring kept answers again: what is written, what is refused, and that nothing is lost."""

import json
from pathlib import Path

import pytest

from coin_lightning.continual.rescoring import Change, replacing, rescore, write_differences, write_variant
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import DataError, RunError
from coin_lightning.evaluation.records import AnswerRecord, write_records
from coin_lightning.run_files import read_json
from coin_lightning.whole_files import write_json

CRANE = {"answer": "Crane"}
ANSWERS = {
    "imagenet": [("", CRANE), ("crane", CRANE), ("Crane", CRANE), ("Owl", CRANE)],  # corrected 50, reference 50
    "gqa": [("Yes ", {"answer": "yes"}), ("no", {"answer": "no"})],  # corrected 100, reference 50
}
TASKS = ["imagenet", "gqa"]


def evaluated(run: RunDir, position: int, *tasks: str, **scores: float) -> Path:
    folder = run.folder(position)
    for task in tasks:
        records = [AnswerRecord(task, f"{i}", "?", text, ref) for i, (text, ref) in enumerate(ANSWERS[task])]
        write_records(folder / "records" / f"{task}.jsonl", records)
    content = {
        "experience": position,
        "scorer": "corrected",
        "scores": {task: scores.get(task, 50.0) for task in tasks},
    }
    counts = {task: len(ANSWERS[task]) for task in tasks}
    write_json(folder / "scores.json", {**content, "counts": counts, "seconds": 3.0, "mine": "stays"})
    return folder


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run", TASKS)
    evaluated(run, 0, *TASKS, gqa=100.0)
    evaluated(run, 1, "imagenet")
    run.write_summary({"seed": 1, "protocol": {"scorers": "corrected"}})
    return run


def files(run: RunDir) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


def test_an_old_run_gets_both_variants_and_keeps_its_own(run: RunDir):
    found = rescore(run)
    scores = read_json(run.folder(0) / "scores.json")
    assert scores == json.loads(json.dumps(found.scores[0]))
    assert scores["scores"] == {"imagenet": 50.0, "gqa": 100.0} == scores["variants"]["corrected"]["scores"]
    assert scores["variants"]["reference"]["scores"] == {"imagenet": 50.0, "gqa": 50.0}
    assert scores["differing"] == {"imagenet": 2, "gqa": 1}
    assert (scores["seconds"], scores["mine"], scores["scorer"]) == (3.0, "stays", "corrected")
    assert found.changes == []
    assert list(read_json(run.folder(1) / "scores.json")["scores"]) == ["imagenet"]


def test_a_second_time_changes_nothing(run: RunDir):
    rescore(run)
    before = files(run)
    assert rescore(run).changes == []
    assert files(run) == before


def test_a_changed_rule_is_told_and_kept(run: RunDir):
    evaluated(run, 1, "imagenet", imagenet=75.0)
    (change,) = rescore(run).changes
    assert change == Change(1, "imagenet", "corrected", before=75.0, after=50.0)
    assert read_json(run.folder(1) / "scores.json")["scores"] == {"imagenet": 50.0}
    assert rescore(run).changes == []
    lines = (run.path / "rescored" / "changes.jsonl").read_text().splitlines()
    assert [json.loads(line)["before"] for line in lines] == [75.0]


def damaged(run: RunDir, text: str) -> None:
    (run.folder(1) / "records" / "imagenet.jsonl").write_text(text)


def lines_of(run: RunDir) -> list[str]:
    return (run.folder(0) / "records" / "imagenet.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: "\n".join(lines)[:-30], r"imagenet.jsonl:4: not JSON .*; restore it, or remove scores.json"),
        (lambda lines: "\n".join(lines[:3]), r"3 answers, 4 were scored; restore it, or remove scores.json"),
        (lambda lines: "\n".join([*lines[:3], lines[0]]), "one question stands there twice"),
        (lambda lines: "\n".join(lines).replace('"imagenet"', '"gqa"', 1), "question 0 is one of gqa"),
        (lambda lines: "\n".join(lines).replace('"answer"', '"label"'), "no field 'answer'"),
    ],
)
def test_damaged_records_are_refused_and_nothing_is_written(run: RunDir, change, message):
    damaged(run, change(lines_of(run)))
    before = files(run)
    with pytest.raises(DataError, match=message):
        rescore(run)
    assert files(run) == before


def test_all_problems_come_together(run: RunDir):
    damaged(run, "{")
    (run.folder(0) / "records" / "gqa.jsonl").unlink()
    with pytest.raises(DataError) as caught:
        rescore(run)
    assert len(caught.value.problems) == 2
    assert "gqa.jsonl: is missing" in caught.value.problems[0]


def test_nothing_evaluated_is_an_error(tmp_path: Path):
    with pytest.raises(RunError, match="nothing was evaluated yet"):
        rescore(RunDir(tmp_path, TASKS))


def test_the_folder_of_a_variant_reads_like_a_run(run: RunDir):
    folder = write_variant(run, rescore(run), "reference", run.facts())
    content = read_json(folder / "matrix.json")
    assert content["scores"] == [[50.0, 50.0], [50.0, None], [None, None]]
    assert (content["seed"], content["protocol"]["scorers"]) == (1, "reference")
    assert (folder / "matrix.csv").read_text().splitlines()[1] == "zero_shot,50.0,50.0"
    assert read_json(folder / "metrics.json") == content["metrics"]
    assert read_json(run.path / "matrix.json")["protocol"]["scorers"] == "corrected"


def test_differing_rows_are_written_with_both_scores(run: RunDir, tmp_path: Path):
    file = tmp_path / "out" / "differences.jsonl"
    with replacing(file) as stream:
        rescore(run, lambda position, task, both: write_differences(stream, position, task, both))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 5  # 2 + 1 after zero-shot, 2 after the first task
    assert lines[2] == {
        "experience": 0, "task": "gqa", "question_id": "0", "prediction": "Yes ", "reference_answer": "yes",
        "corrected_score": 1.0, "reference_score": 0.0,
    }  # fmt: skip


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def die_writing() -> None:
        with replacing(file) as stream:
            stream.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die_writing()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.txt", "old")]
