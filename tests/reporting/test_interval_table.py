"""Final accuracy with intervals over images."""

import numpy as np
import pytest

from coin_lightning.errors import RunError
from coin_lightning.reporting.interval_table import interval_table
from coin_lightning.reporting.overview import group_by_method
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.sample_scores import SampleReader

TASKS = ("imagenet", "gqa")


@pytest.fixture
def runs(make_run):
    options = {"tasks": TASKS, "images": False, "router": False}
    return [load_matrix(make_run(f"r{seed}", seed=seed, answers=20, **options)) for seed in (1, 2)]


def test_the_mean_is_the_score_and_lies_inside(runs):
    table = interval_table(group_by_method(runs), SampleReader())
    assert table.heads == ["method", "ImageNet", "GQA", "Mean"]
    ((label, cells),) = table.rows
    assert label == "MoELoRA (2 seeds)"
    finals = [(runs[0].scores[2, at] + runs[1].scores[2, at]) / 2 for at in (0, 1)]
    assert [cell.mean for cell in cells] == pytest.approx([*finals, sum(finals) / 2])
    assert all(0 <= cell.low < cell.mean < cell.high <= 100 for cell in cells)
    assert cells[2].high - cells[2].low < max(cell.high - cell.low for cell in cells[:2])
    assert cells[0].shown == f"{cells[0].mean:.1f} [{cells[0].low:.1f}, {cells[0].high:.1f}]"


def test_unfinished_groups_are_left_out(make_run, runs):
    half = load_matrix(make_run("half", method="lora", tasks=TASKS, finished=1, answers=20, images=False))
    assert len(interval_table(group_by_method([*runs, half]), SampleReader()).rows) == 1
    assert interval_table(group_by_method([half]), SampleReader()) is None


def test_groups_without_a_score_at_the_end_are_left_out(make_run, runs):
    """Imported results lack what their program never stored."""
    lacking = load_matrix(make_run("lacking", method="lora", tasks=TASKS, answers=20, images=False))
    lacking.scores[2, 0] = np.nan
    table = interval_table(group_by_method([lacking, *runs]), SampleReader())
    assert [label for label, _ in table.rows] == ["MoELoRA (2 seeds)"]


def test_other_samples_are_not_averaged(make_run, runs):
    other = load_matrix(make_run("other", seed=3, tasks=TASKS, answers=10, images=False))
    with pytest.raises(RunError, match="the runs have other test samples"):
        interval_table(group_by_method([*runs, other]), SampleReader())
