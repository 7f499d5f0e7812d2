"""``python -m coin_lightning report`` on one run, several, and damaged ones."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

from fake_run import build_run

from coin_lightning.cli.report import main


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
    made = {f"comparison.{kind}" for kind in ("html", "png", "md", "tex", "csv")}
    assert {file.name for file in (tmp_path / "out").iterdir()} == made


def test_damage_is_one_line_and_status_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build_run(tmp_path / "run", finished=1, answers=4)
    (run / "matrix.json").write_text("{}", encoding="utf-8")
    assert main([str(run)]) == 1
    assert "matrix.json: field 'tasks' is None" in capsys.readouterr().err
    assert not (run / "report.html").exists()
