"""`import coin`: the command, and then the other commands and tables on what it has made."""

import json
from pathlib import Path

import numpy as np
import pytest

from coin_lightning.cli.import_runs import main
from coin_lightning.cli.report import main as report
from coin_lightning.cli.runs import main as runs
from coin_lightning.cli.score import main as score
from coin_lightning.errors import RunError
from coin_lightning.evaluation.judges.base import Judge, Reply
from coin_lightning.evaluation.judges.judging import judge_run
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.results import load, load_metrics
from coin_results import numbered, write_answers, write_printed, write_results

ORDER = ("--order", "textvqa,imagenet,gqa")


@pytest.fixture
def imported(place, tmp_path: Path) -> Path:
    """`write_results` through the command."""
    results, out = write_results(tmp_path / "results"), tmp_path / "runs"
    assert main(["coin", str(results), "--out", str(out), "--data", str(place.suite), *ORDER]) == 0
    return out


def test_the_command_tells_what_it_found_and_what_not(place, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_results(tmp_path / "results")
    arguments = ["coin", str(tmp_path / "results"), "--out", str(tmp_path / "runs"), *ORDER]
    assert main([*arguments, "--data", str(place.suite)]) == 0
    text = capsys.readouterr().out
    assert "runs/lora: 5 cells, 5 of them with their answers" in text
    assert "runs/HiDe: 6 cells, 0 of them with their answers" in text
    assert "cells without a file, which stay empty: TextVQA after GQA" in text
    assert "no zero-shot scores" in text
    assert "ImageNet after" in text
    page = (tmp_path / "runs" / "lora" / "report.html").read_text()
    assert "this was not trained here" in page
    assert "seed <b>unknown</b>" in page
    assert "What capital letters hide" in page
    assert "<h2>Cost</h2>" not in page
    assert "The same command continues it" not in page


def test_report_score_and_runs_work_on_them(imported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for name in ("lora", "HiDe"):
        assert report([str(imported / name)]) == 0
        assert score([str(imported / name), "evaluation.scorers=reference"]) == 0
    assert load_matrix(imported / "lora" / "rescored" / "reference").scores[3, 1] == 25
    assert load_matrix(imported / "HiDe" / "rescored" / "reference").scores[3].tolist() == [40, 86.5, 55]
    assert load_matrix(imported / "HiDe").scores[3].tolist() == [40, 86.5, 55]
    together = [str(imported / name) for name in ("lora", "HiDe")]
    assert report([*together, "--output", str(tmp_path / "comparison")]) == 0
    assert "HiDe (imported)" in (tmp_path / "comparison" / "comparison.html").read_text()
    capsys.readouterr()
    assert runs([str(imported)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("imported, 3/4" in line for line in lines) == 2
    assert runs([str(imported), "--prune"]) == 0


def test_tables_for_notebooks(imported: Path):
    frame = load(imported).reset_index()
    cells = frame.set_index([frame["run"].str.rsplit("/").str[-1], "position", "task"])
    assert cells.loc[("lora", 3, "imagenet"), ["score", "own", "change", "count"]].tolist() == [75, 100, -25, 4]
    assert cells.loc[("lora", 2, "textvqa"), "judge/printed"] == 62
    assert len(cells.loc["HiDe"]) == 6
    metrics = load_metrics(imported)
    assert metrics["state"].unique().tolist() == ["imported"]
    assert metrics["seconds"].isna().all()


def test_training_and_evaluation_refuse_them(place, imported: Path):
    again = [*place.command("x", tasks="textvqa,imagenet,gqa")[:-1], f"run_dir={imported / 'lora'}"]
    before = sorted(imported.rglob("*"))
    for words in (again, ["evaluate", str(imported / "lora")]):
        status, text = place.runs.run(words)
        assert status == 1
        assert "was imported from results of another program" in " ".join(text.split())
        assert [file for file in sorted(imported.rglob("*")) if file.name != ".lock"] == before


def test_fewer_tasks_than_usual_get_the_remedy_and_no_empty_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Three of CoIN's eight: no metric over all eight is defined, and with the order named those of three are."""
    for name in ("one", "two"):
        for place in ("ImageNet/ImageNet", "ImageNet/GQA", "ImageNet/VizWiz", "GQA/GQA", "GQA/VizWiz", "VizWiz/VizWiz"):
            write_printed(tmp_path / "r" / name / place, 50)
    folder, out = str(tmp_path / "r"), str(tmp_path / "o")
    assert main(["coin", folder, "--out", out]) == 0
    remedy = "--order imagenet,gqa,vizwiz"
    assert (
        f"5 of 8 tasks have no results, so no metric over all tasks is defined; if no others were learned, "
        f"import anew, into another --out, with {remedy}" in capsys.readouterr().out
    )
    runs = [str(each.parent) for each in sorted(Path(out).rglob("matrix.json"))]
    assert report([*runs, "--out", str(tmp_path / "c")]) == 0
    text = capsys.readouterr().out
    assert "No metric is defined: 5 of 8 tasks have no scores." in text
    assert "metric " not in text.replace("No metric is", "")
    assert "1 seed" not in text
    assert "| method |\n" not in (tmp_path / "c" / "comparison.md").read_text()
    assert main(["coin", folder, "--out", f"{out}3", *remedy.split()]) == 0
    assert "have no results" not in capsys.readouterr().out
    runs = [str(each.parent) for each in sorted(Path(f"{out}3").rglob("matrix.json"))]
    assert report([*runs, "--out", str(tmp_path / "c3")]) == 0
    assert "1 run " in capsys.readouterr().out


def test_nobody_knows_whether_they_bound_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for stage in ("Finetune", "Multitask"):
        write_printed(tmp_path / "r" / "GQA" / stage, 50)
    assert main(["coin", str(tmp_path / "r"), "--out", str(tmp_path / "o"), "--order", "gqa"]) == 0
    assert report([str(tmp_path / "o" / "r"), f"bounds.joint={tmp_path / 'o' / 'r_multitask'}"]) == 1
    assert "nobody knows whether the runs are alike" in capsys.readouterr().err


class Five(Judge):
    """Gives everyone five."""

    kind = "five"

    def settings(self):
        return {"version": "1", "temperature": None, "seed": None, "settings": {}}

    def judge(self, requests):
        return (Reply(at, "5") for at in range(len(requests)))


def test_judges_grade_the_answers_that_were_kept(imported: Path):
    assert len(judge_run(imported / "lora", Five("five"))) == 3
    with pytest.raises(RunError, match="HiDe: nothing to judge, only scores, no answers"):
        judge_run(imported / "HiDe", Five("five"))


def test_scores_and_answers_in_one_run_are_shown_by_one_rule(place, tmp_path: Path):
    """Only the published rule is known everywhere; answers still have both readings, also after scoring again."""
    write_answers(tmp_path / "r" / "ImageNet" / "Finetune", numbered("C", "c", "c", "c"))
    write_printed(tmp_path / "r" / "GQA" / "Finetune", 59.42)
    assert main(["coin", str(tmp_path / "r"), "--out", str(tmp_path / "o"), "--data", str(place.suite)]) == 0
    run = tmp_path / "o" / "r"
    for step in (lambda: 0, lambda: score([str(run), "evaluation.scorers=corrected"])):
        assert step() == 0
        matrix = load_matrix(run)
        assert (matrix.scores[3, 2], matrix.scores[4, 3]) == (75, 59.42)
        assert matrix.variants["corrected"].scores[3, 2] == 100
        assert np.isnan(matrix.variants["corrected"].scores[4, 3])


def test_one_run_that_cannot_be_read_does_not_keep_the_others_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_printed(tmp_path / "r" / "good" / "GQA" / "Finetune", 59.42)
    (write_answers(tmp_path / "r" / "bad" / "GQA" / "Finetune", []) / "merge.jsonl").write_text(
        '{"question_id": "1"}\n{'
    )
    assert main(["coin", str(tmp_path / "r"), "--out", str(tmp_path / "o")]) == 1
    assert [run.name for run in (tmp_path / "o").iterdir()] == ["good"]
    told = capsys.readouterr().err
    assert "merge.jsonl:1: is no answer (field 'text' is None)" in told
    assert "merge.jsonl:2: is no answer" in told
    assert json.loads((tmp_path / "o" / "good" / "imported.json").read_text())["run"] == "good"
