"""Imported runs on disk: what the tools of the project read, and that nothing of it passes as trained here."""

import json
from pathlib import Path

import pytest

from coin_lightning.continual.rescoring import rescore
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import RunError
from coin_lightning.evaluation.records import read_records
from coin_lightning.imports.coin import ImportedRun, Results
from coin_lightning.imports.run_folder import write_run
from coin_lightning.reporting.compared import compare
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.sample_scores import SampleReader, with_records
from coin_results import write_answers, write_judged, write_printed, write_results
from small_coin import write_suite

ORDER = ["textvqa", "imagenet", "gqa"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`write_results`, imported: by name."""
    root = tmp_path_factory.mktemp("imports")
    data = write_suite(root / "data", train=1)
    found = Results(write_results(root / "results"), data, order=",".join(ORDER))
    assert found.left_out == []
    return {run.name: write_run(found.read(run), root / "runs")[0] for run in found.runs}


def only(root: Path) -> ImportedRun:
    """The one run below a folder."""
    results = Results(root)
    (found,) = results.runs
    return results.read(found)


def grid(values) -> list[list[float | None]]:
    return [[None if cell != cell else float(cell) for cell in row] for row in values]


def test_matrix_and_both_readings(runs: dict[str, Path]):
    matrix = load_matrix(runs["lora"])
    empty = [None, None, None]
    assert grid(matrix.scores) == [empty, [100, None, None], [50, 100, None], [None, 75, 75]]
    assert grid(matrix.variants["reference"].scores) == [empty, [100, None, None], [50, 100, None], [None, 25, 75]]
    assert matrix.counts.tolist() == [[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 4]]
    assert matrix.metrics["acc"] is None  # TextVQA at the end is missing, and nothing is put in its place
    assert matrix.judges["printed"].scores[2, 0] == 62
    assert matrix.protocol["scorers"] == "corrected"


def test_questions_of_scienceqa_that_were_not_answered_stay_wrong_whoever_reads_the_run(tmp_path: Path):
    """Two of three answers are right, of four questions; the other cell makes it a run of reference scores."""
    write_answers(tmp_path / "r" / "ScienceQA" / "Finetune", [("1000", "B"), ("1001", "A"), ("1002", "B")])
    write_printed(tmp_path / "r" / "TextVQA" / "Finetune", 60)
    results = Results(tmp_path / "r", write_suite(tmp_path / "data", train=1), order="scienceqa,textvqa")
    folder, _ = write_run(results.read(results.runs[0]), tmp_path / "runs")
    matrix = load_matrix(folder)
    assert (matrix.scores[1, 0], matrix.protocol["scorers"]) == (50, "reference")
    found = SampleReader()(matrix, 1, "scienceqa")
    assert found is not None
    assert found.scores.tolist() == [100, 0, 100]
    again = rescore(RunDir(folder, ["scienceqa", "textvqa"]))
    assert again.changes == []
    assert again.scores[1]["variants"]["reference"]["scores"] == {"scienceqa": 50}


def test_a_run_that_lacks_the_answers_behind_one_score_is_compared_without_any(runs: dict[str, Path], tmp_path: Path):
    """TextVQA after GQA was only printed."""
    assert with_records(load_matrix(runs["lora"]))
    write_printed(write_results(tmp_path / "r") / "lora" / "TextVQA" / "GQA", 40)
    results = Results(tmp_path / "r" / "lora", write_suite(tmp_path / "data", train=1), order=",".join(ORDER))
    matrix = load_matrix(write_run(results.read(results.runs[0]), tmp_path / "runs")[0])
    assert matrix.scores[3, 0] == 40
    assert not with_records(matrix)
    (alone,) = compare([matrix])
    assert alone.samples is None
    assert any(note.startswith("The answers of 1 of 1 runs are not there") for note in alone.notes)


def test_records_have_their_truth(runs: dict[str, Path]):
    records = read_records(runs["lora"] / "task_03_gqa" / "records" / "imagenet.jsonl")
    assert [(record.question_id, record.prediction, record.reference["answer"]) for record in records] == [
        ("1000", "C", "c"), ("1001", "C", "c"), ("1002", "x", "c"), ("1003", "c", "c"),
    ]  # fmt: skip


def test_scores_alone_make_a_matrix_by_the_published_rules(runs: dict[str, Path]):
    matrix = load_matrix(runs["HiDe"])
    assert grid(matrix.scores[1:]) == [[60, None, None], [50, 96.5, None], [40, 86.5, 55]]
    assert set(matrix.variants) == {"reference"}
    assert matrix.metrics["acc"] == pytest.approx((40 + 86.5 + 55) / 3)
    assert matrix.metrics["bwt"] == pytest.approx(((40 - 60) + (86.5 - 96.5)) / 2)
    assert matrix.protocol["scorers"] == "reference"
    assert not list(runs["HiDe"].rglob("records"))


def test_the_run_says_where_it_is_from_and_what_nobody_knows(runs: dict[str, Path]):
    told = json.loads((runs["lora"] / "imported.json").read_text())
    assert len(told["files"]) == 7
    assert len(told["files"]["GQA/Finetune/merge.jsonl"]) == 64
    assert set(told["data"]) == set(ORDER)
    assert "seed" in told["unknown"]
    matrix = load_matrix(runs["lora"])
    assert (matrix.seed, matrix.backbone, matrix.method, matrix.cost) == (None, "unknown", "unknown", {})
    assert "this was not trained here" in matrix.notes[0]
    assert any("cells without a file, which stay empty: textvqa after gqa" in note.lower() for note in matrix.notes)
    cells = {(cell["position"], cell["task"]): cell for cell in matrix.imported["capital_letters"]}
    after = cells[3, "imagenet"]
    assert {name: after[name] for name in ("samples", "wrong", "capitals", "corrected", "at_most", "lost", "won")} == {
        "samples": 4, "wrong": 3, "capitals": 2, "corrected": 75, "at_most": False, "lost": 3, "won": 0,
    }  # fmt: skip
    assert not (runs["lora"] / "config.yaml").exists()
    assert "machine" not in json.loads((runs["lora"] / "environment.json").read_text())


def test_nothing_continues_it(runs: dict[str, Path]):
    run = RunDir.open(runs["lora"])
    for step in (run.claim, run.compare):
        with pytest.raises(RunError, match="lora: was imported from results of another program"):
            step({})


def test_the_same_import_again_changes_nothing_and_another_one_is_refused(tmp_path: Path):
    results, out = write_printed(tmp_path / "r" / "a" / "GQA" / "Finetune", 40), tmp_path / "out"

    def write() -> tuple[Path, bool]:
        return write_run(only(tmp_path / "r"), out)

    path, is_new = write()
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert is_new
    assert write() == (path, False)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    write_printed(results, 41)
    with pytest.raises(RunError, match="a: is there already and is not what these files give"):
        write()
    assert load_matrix(path).scores[4, 3] == 40


def test_multitask_and_judge_alone(tmp_path: Path):
    write_printed(tmp_path / "r" / "GQA" / "Multitask", 56.65)
    write_judged(tmp_path / "r" / "ScienceQA" / "Multitask", 82)
    run = only(tmp_path / "r")
    matrix = load_matrix(write_run(run, tmp_path / "out")[0])
    assert (matrix.training, matrix.rows[-1], matrix.scores[8, 3], matrix.counts[8, 3]) == ("joint", "joint", 56.65, 4)
    assert matrix.judges["printed"].scores[8, 0] == 82
    assert "cells without a score by a rule: ScienceQA after joint training" in run.findings
