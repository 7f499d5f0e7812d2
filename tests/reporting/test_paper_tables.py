"""Tables for papers, from runs whose numbers are known."""

import csv
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coin_lightning.reporting.overview import MethodGroup, group_by_method, metric_text
from coin_lightning.reporting.paper_tables import as_csv, as_latex, as_markdown, escaped, paper_tables, write_tables
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix

TASKS = ("imagenet", "gqa")


@pytest.fixture
def groups(runs) -> list[MethodGroup]:
    return group_by_method(runs)


@pytest.fixture
def runs(make_run) -> list[RunMatrix]:
    """Two seeds of one method, one of another."""
    given = (("moelora", 1), ("moelora", 2), ("lora", 1))
    made = [make_run(f"{method}_{seed}", tasks=TASKS, method=method, seed=seed, images=False) for method, seed in given]
    return [load_matrix(run) for run in made]


def test_cells_are_means_and_deviations_over_seeds(runs, groups):
    metrics, own, final = paper_tables(groups)
    pair = np.array([run.metrics["acc"] for run in runs[:2]])
    (first, cells), (second, others) = metrics.rows
    assert (first, second) == ("MoELoRA (2 seeds)", "LoRA (1 seed)")
    at = metrics.heads.index("Final accuracy (ACC)") - 1
    assert cells[at].mean == pytest.approx(pair.mean())
    assert cells[at].deviation == pytest.approx(abs(pair[0] - pair[1]) / 2**0.5)
    assert others[at].mean == runs[2].metrics["acc"]
    assert np.isnan(others[at].deviation)
    assert final.heads == ["method", "ImageNet", "GQA", "Mean"]
    assert [cell.mean for cell in final.rows[1][1]] == [*runs[2].scores[2], pytest.approx(runs[2].metrics["acc"])]
    assert [cell.mean for cell in own.rows[1][1][:2]] == [runs[2].scores[1, 0], runs[2].scores[2, 1]]


def test_a_mean_over_some_of_the_seeds_is_none(make_run, runs):
    half = load_matrix(make_run("half", tasks=TASKS, seed=3, finished=1, images=False))
    _, own, end = paper_tables(group_by_method([*runs[:2], half]))
    assert [cell.text for cell in own.rows[0][1]] == [f"{own.rows[0][1][0].mean:.1f}", "\u2013", "\u2013"]
    assert {cell.text for cell in end.rows[0][1]} == {"\u2013"}  # where it stands is no end


def test_a_metric_that_only_some_runs_have_says_of_how_many_it_is(runs):
    runs = [replace(run, metrics={"acc": acc, "retention": part})
            for run, acc, part in zip(runs[:2], (20.0, 26.0), (0.812, 0.878), strict=True)]  # fmt: skip
    group = group_by_method([*runs, replace(runs[0], seed=3, metrics={"acc": None, "retention": None})])
    metrics = dict(zip(("acc", "retention"), paper_tables(group)[0].rows[0][1], strict=True))
    assert metrics["acc"].shown == metric_text(group[0], "acc") == "23.0 ±4.2 (2 of 3)"
    assert metrics["retention"].shown == metric_text(group[0], "retention") == "0.84 ±0.05 (2 of 3)"
    assert r"$23.0 \pm 4.2$ (2 of 3) & $0.84 \pm 0.05$ (2 of 3) \\" in as_latex(paper_tables(group))


def test_markdown(runs, groups):
    text = as_markdown(paper_tables(groups))
    lines = text.splitlines()
    start = lines.index("**Score at the end**")
    assert lines[start + 2 : start + 4] == ["| method | ImageNet | GQA | Mean |", "|---|---:|---:|---:|"]
    scores = runs[2].scores[2]
    assert lines[start + 5] == f"| LoRA (1 seed) | {scores[0]:.1f} | {scores[1]:.1f} | {scores.mean():.1f} |"
    assert " ±" in lines[start + 4]


def test_latex_escapes_names_and_sets_numbers_as_such(groups):
    text = as_latex(paper_tables(groups))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 3
    assert "\u2212" not in text  # a true minus is no minus to LaTeX
    assert r" \pm " in text
    assert escaped("50% of a_b & {c} \\ d~e^f #1 $") == (
        r"50\% of a\_b \& \{c\} \textbackslash{} d\textasciitilde{}e\textasciicircum{}f \#1 \$"
    )
    assert escaped("a<b>c|d \u22121") == r"a\textless{}b\textgreater{}c\textbar{}d $-$1"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_is_set(groups, tmp_path: Path):
    body = as_latex(paper_tables(groups))
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n")
    words = ["pdflatex", "-halt-on-error", "t.tex"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_csv_has_every_number_in_full(runs, groups):
    tables = paper_tables(groups)
    rows = list(csv.DictReader(as_csv(tables).splitlines()))
    assert len(rows) == sum(len(cells) for table in tables for _, cells in table.rows)
    row = next(row for row in rows if (row["table"], row["method"], row["column"]) == (
        "Score at the end", "MoELoRA (2 seeds)", "GQA"))  # fmt: skip
    assert float(row["mean"]) == np.mean([run.scores[2, 1] for run in runs[:2]])
    assert row["seeds"] == "2"
    alone = next(row for row in rows if row["method"] == "LoRA (1 seed)")
    assert alone["standard_deviation"] == ""


def test_files(groups, tmp_path: Path):
    files = write_tables(paper_tables(groups), tmp_path / "comparison_2")
    assert [file.name for file in files] == ["comparison_2.md", "comparison_2.tex", "comparison_2.csv"]
    assert all(file.stat().st_size > 200 for file in files)
