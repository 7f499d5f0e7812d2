"""``python -m coin_lightning report`` on one run, several, and damaged ones."""

import csv
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

from fake_run import build_run

from coin_lightning.cli.report import main
from coin_lightning.manifest import record


def test_one_run_gets_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path / "run", finished=2, answers=8)
    assert main([str(run)]) == 0
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (run / "figures" / "matrix.png").exists()
    assert "ScienceQA" in capsys.readouterr().out


def test_several_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        build_run(tmp_path / f"{method}{seed}", method=method, seed=seed, keep=keep, answers=20, images=False)
        for method, keep in (("lora", 0.6), ("moelora", 0.8))
        for seed in (1, 2)
    ]
    assert main([*map(str, runs), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "2 seeds" in printed
    assert "MoELoRA" in printed
    assert "±" in printed
    made = {f"comparison.{kind}" for kind in ("html", "png", "md", "tex", "csv", "parquet")} | {"plane.png"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == made


def test_damage_is_one_line_and_status_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path / "run", finished=1, answers=4)
    (run / "matrix.json").write_text("{}", encoding="utf-8")
    assert main([str(run)]) == 1
    assert "matrix.json: field 'tasks' is None" in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_altered_answers_are_told_behind_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One wrong in a task that flips read, one in the last task, of which the page has examples only."""
    run = build_run(tmp_path / "run", tasks=("scienceqa", "gqa", "vizwiz"), answers=4, images=False)
    files = [run / folder for folder in ("task_02_gqa/records/scienceqa.jsonl", "task_03_vizwiz/records/vizwiz.jsonl")]
    for file in files:
        record(file.parents[1], [file])
    assert main([str(run)]) == 0
    (run / "report.html").unlink()
    for file in files:
        file.write_text(file.read_text(encoding="utf-8").replace('"prediction": "', '"prediction": "x', 1))
    assert main([str(run)]) == 1
    printed = capsys.readouterr()
    assert "error: 2 problems in the data:" in printed.err
    for file in files:
        assert f"{file}: is not what was written" in printed.err
    assert "altered by hand" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("name", ["nothere", "adapter.rank=0.5"])
def test_a_path_that_leads_nowhere_is_told_alike_alone_and_among_others(
    others: int, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(build_run(tmp_path / "run", finished=1, answers=4, images=False))][:others]
    assert main([*runs, str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
    expected = f"error: {tmp_path / name}: no such run folder; give the folder that holds matrix.json."
    assert capsys.readouterr().err.strip() == expected


def build_methods(folder: Path) -> list[str]:
    return [
        str(build_run(folder / f"{method}{seed}", tasks=("scienceqa", "gqa"), method=method, seed=seed, keep=keep,
                      answers=20, images=False, router=False))
        for method, keep in (("lora", 0.3), ("moelora", 0.9)) for seed in (1, 2)
    ]  # fmt: skip


def test_a_baseline_is_tested_against_in_all_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, out = build_methods(tmp_path), tmp_path / "out"
    assert main([*runs, "--out", str(out), "--baseline", "lora"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Final accuracy (ACC) against LoRA, runs paired by seed and order: MoELoRA: +" in printed
    assert "With 2 pairs of runs the least possible p is 0.5: no difference could come out significant" in printed
    assert "These test sets can tell" in printed
    page = (out / "comparison.html").read_text(encoding="utf-8")
    tables = [(out / f"comparison.{kind}").read_text(encoding="utf-8") for kind in ("md", "tex", "csv")]
    assert all("Final accuracy (ACC) minus that of LoRA, paired" in text for text in tables)
    for words in ("What is sure, and what is not", "Plasticity and stability", "Single answers that turned", "Cost"):
        assert words in page
    assert "ScienceQA: right → wrong" in page
    assert all(run not in page for run in runs), "the page may be handed on: no folder of the machine in it"


def test_without_records_only_matrices_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, out = build_methods(tmp_path), tmp_path / "out"
    for file in tmp_path.rglob("*.jsonl"):
        file.write_text("not JSON")
    assert main([*runs, "--out", str(out), "--no-records"]) == 0
    assert "Single answers" not in (out / "comparison.html").read_text(encoding="utf-8")
    assert main([*runs, "--out", str(out)]) == 1
    assert "not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--baseline", "olora"], "--baseline 'olora' is none of the compared groups"),
        (["--allow", "nothing"], "--allow nothing: no field of these runs"),
        (["--baseline", "lora", "--no-records"], "tests need scores of all single answers. leave out --no-records"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main([*build_methods(tmp_path), "--out", str(tmp_path / "out"), *options]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_baseline_for_one_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path / "run", finished=1, answers=4)
    assert main([str(run), "--baseline", "lora"]) == 1
    assert "--baseline and --allow compare runs; one is given" in capsys.readouterr().err


def test_real_runs_of_other_seed_and_order_are_one_method(place, short: Path, tmp_path: Path, capsys) -> None:
    """What seed and order bring into config, data and environment keeps nobody from averaging."""
    other = place.folder / "short_other"
    command = place.command("short_other", "data.limit_test=2", "seed=1", tasks="textvqa,scienceqa")
    status, text = place.runs.run(command)
    assert status == 0, text
    assert main([str(short), str(other), "--out", str(tmp_path / "out")]) == 0
    assert "not averaged" not in capsys.readouterr().out
    finals = [json.loads((run / "matrix.json").read_text())["metrics"]["acc"] for run in (short, other)]
    rows = list(csv.DictReader((tmp_path / "out" / "comparison.csv").read_text(encoding="utf-8").splitlines()))
    spread = [row for row in rows if row["table"] == "Final accuracy by order of tasks"]
    assert [float(row["mean"]) for row in spread[:2]] == pytest.approx(finals)
    assert spread[0]["method"].endswith("(2 runs)")
