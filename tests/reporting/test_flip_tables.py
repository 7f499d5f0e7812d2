"""Flips of runs against a count by hand over their records, and as tables."""

import json

import numpy as np
import pytest

from coin_lightning.evaluation.scorers import get_scorer
from coin_lightning.reporting.flip_tables import flip_tables, run_flips
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.overview import group_by_method
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.sample_scores import SampleReader

TASKS = ("scienceqa", "gqa", "imagenet")


@pytest.fixture
def runs(make_run) -> list[RunMatrix]:
    options = {"tasks": TASKS, "answers": 40, "images": False, "router": False, "keep": 0.5}
    return [load_matrix(make_run(f"run{seed}", seed=seed, **options)) for seed in (1, 2)]


def right(run: RunMatrix, row: int, task: str) -> list[bool]:
    name = ("zero_shot", *TASKS)[row]
    file = run.folder / f"task_{row:02d}_{name}" / "records" / f"{task}.jsonl"
    return [get_scorer(task)(json.loads(line)) >= 0.5 for line in file.read_text().splitlines()]


def share(run: RunMatrix, task: str, rows: tuple[int, int], change: tuple[bool, bool]) -> float:
    both = list(zip(right(run, rows[0], task), right(run, rows[1], task), strict=True))
    return 100 * both.count(change) / len(both)


def test_flips_are_counted_over_the_records(runs):
    found = run_flips(runs[0], SampleReader())
    assert set(found.steps) == {(2, 0), (3, 0), (3, 1)}
    assert set(found.whole) == {0, 1}
    for (row, column), each in found.steps.items():
        assert each.lost == share(runs[0], TASKS[column], (row - 1, row), (True, False))
        assert each.gained == share(runs[0], TASKS[column], (row - 1, row), (False, True))
    assert found.whole[0].lost == share(runs[0], "scienceqa", (1, 3), (True, False)) > 0
    assert found.whole[0].net == pytest.approx(runs[0].scores[3, 0] - runs[0].scores[1, 0])
    assert found.whole[1].chance is None
    assert found.step_means(3, lambda each: each.lost)[1] == (found.steps[3, 0].lost + found.steps[3, 1].lost) / 2


def test_chance_counts_wrong_letters_only(runs):
    """Four options: a third of what names a wrong letter both times."""
    files = [
        runs[0].folder / folder / "records" / "scienceqa.jsonl" for folder in ("task_01_scienceqa", "task_03_imagenet")
    ]
    lines = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    wrong = [all(p["prediction"] in "ABCD" and p["prediction"] != p["reference"]["answer"] for p in pair)
             for pair in zip(*lines, strict=True)]  # fmt: skip
    found = run_flips(runs[0], SampleReader()).whole[0]
    assert found.chance == pytest.approx(100 * sum(wrong) / 40 / 3)
    assert 0 < found.chance < found.wrong / 3


def test_tables_have_the_mean_over_seeds(runs):
    tables = {table.title: table for table in flip_tables(group_by_method(runs), SampleReader())}
    lost = tables["Right → wrong since its own training, at the end (% of its test samples)"]
    assert lost.heads == ["method", "ScienceQA", "GQA", "Mean"]
    ((label, cells),) = lost.rows
    assert label == "MoELoRA (2 seeds)"
    values = [share(run, "gqa", (2, 3), (True, False)) for run in runs]
    assert cells[1].mean == np.mean(values)
    assert cells[1].deviation == pytest.approx(np.std(values, ddof=1))
    beyond = tables["Flips since its own training, at the end, minus chance (% of its test samples)"]
    assert beyond.heads[1:] == ["ScienceQA: right → wrong", "ScienceQA: wrong → right"]
    whole = [run_flips(run, SampleReader()).whole[0] for run in runs]
    assert beyond.rows[0][1][0].mean == pytest.approx(np.mean([each.lost - each.chance for each in whole]))
    steps = tables["Right → wrong at each experience (% of the test samples of earlier tasks)"]
    assert steps.heads == ["method", "GQA", "ImageNet", "Mean"]
    own = tables["ScienceQA: right → wrong at each experience, minus chance (% of its test samples)"]
    assert own.heads == ["method", "GQA", "ImageNet", "Mean"]


def test_the_page_of_a_run_shows_them_or_says_why_not(runs):
    found = run_flips(runs[0], SampleReader())
    text = write_report(runs[0].folder, figures=False).read_text(encoding="utf-8")
    assert "Single answers that turned" in text
    assert f"<b>{found.whole[0].lost:.1f}</b>" in text
    assert "Minus chance" in text
    content = json.loads((runs[0].folder / "matrix.json").read_text())
    content["scores"][3][0] += 1
    (runs[0].folder / "matrix.json").write_text(json.dumps(content))
    text = write_report(runs[0].folder, figures=False).read_text(encoding="utf-8")
    assert "score the run again" in text
    assert "<b>{found.whole[0].lost:.1f}</b>" not in text
    assert str(runs[0].folder) not in text
