"""Figures of one run, checked by what is on the axes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_run import TASKS
from matplotlib.axes import Axes

from coin_lightning.reporting.figures import bars_figure, curves_figure, grid_shape, matrix_figure, save_figures
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.style import ORANGE

MakeRun = Callable[..., Path]


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_grid_shape_leaves_few_holes() -> None:
    shapes = {n: grid_shape(n) for n in (1, 3, 4, 6, 8, 9, 10)}
    assert shapes == {1: (1, 1), 3: (1, 3), 4: (1, 4), 6: (2, 3), 8: (2, 4), 9: (3, 3), 10: (3, 4)}


def test_matrix_prints_values_hatches_nulls_and_outlines_the_diagonal(make_run: MakeRun) -> None:
    matrix = load_matrix(make_run(answers=8, pictures=False))
    ax = matrix_figure(matrix).axes[0]
    assert texts(ax) == [f"{value:.1f}" for value in matrix.scores.ravel() if not np.isnan(value)]
    assert sum(patch.get_hatch() is not None for patch in ax.patches) == 28
    outlined = [patch for patch in ax.patches if not patch.get_fill()]
    places = [(round(patch.get_x()), round(patch.get_y())) for patch in outlined]  # type: ignore[attr-defined]
    assert places == [(i, i + 1) for i in range(8)]
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["zero-shot", "ScienceQA"]


def test_curves_hold_the_columns_of_the_matrix(make_run: MakeRun) -> None:
    matrix = load_matrix(make_run(answers=8, seen_only=False, pictures=False))
    axes = curves_figure(matrix).axes
    assert [ax.get_title("left") for ax in axes][-1] == "OCR-VQA"
    for task, ax in enumerate(axes):
        zero, before, after, marker = ax.lines
        assert zero.get_ydata()[0] == matrix.zero_shot[task]  # type: ignore[index]
        np.testing.assert_array_equal(before.get_ydata(), matrix.scores[: task + 2, task])
        np.testing.assert_array_equal(after.get_ydata(), matrix.scores[task + 1 :, task])
        assert (marker.get_xdata()[0], marker.get_color()) == (task + 1, ORANGE)  # type: ignore[index]


@pytest.mark.parametrize("count", [1, 3, 5, 8, 10])
def test_panels_for_any_number_of_tasks(make_run: MakeRun, count: int) -> None:
    tasks = (*TASKS, "extra_one", "extra_two")[:count]
    matrix = load_matrix(make_run(tasks=tasks, answers=4, pictures=False, router=False))
    assert len(curves_figure(matrix).axes) == count
    assert len(bars_figure(matrix).axes[0].get_xticklabels()) == count


def test_bars_of_a_partial_run_show_the_trained_tasks(make_run: MakeRun) -> None:
    matrix = load_matrix(make_run(finished=2, answers=8, pictures=False))
    ax = bars_figure(matrix).axes[0]
    heights = [patch.get_height() for patch in ax.patches]  # type: ignore[attr-defined]
    assert heights == [*matrix.immediate[:2], *matrix.scores[2, :2]]
    assert [label.get_text() for label in bars_figure(matrix).legends[0].get_texts()][-1] == "now"


def test_save_figures_writes_what_the_run_allows(make_run: MakeRun) -> None:
    started = load_run(make_run("started", finished=0, answers=4, pictures=False))
    assert list(save_figures(started, started.path / "figures")) == ["matrix"]
    run = load_run(make_run(finished=2, answers=4, pictures=False))
    files = save_figures(run, run.path / "figures")
    assert list(files) == ["matrix", "forgetting_curves", "immediate_final", "router_load", "router_layers"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files.values())
