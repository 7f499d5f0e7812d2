"""Figures of one run, checked by what is on the axes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_run import TASKS
from readings import boxes, dots, heights, texts
from small_matrix import matrix

from coin_lightning.reporting.drawing import BLUE, MUTED, ORANGE, Shape
from coin_lightning.reporting.figures import (
    bars_figure,
    curve_figure,
    curves_figure,
    grid_shape,
    matrix_figure,
    save_figures,
    score_ceiling,
)
from coin_lightning.reporting.rendering import png_bytes
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.run_matrix import load_matrix

MakeRun = Callable[..., Path]


def test_grid_shape_leaves_few_holes() -> None:
    shapes = {n: grid_shape(n) for n in (1, 3, 4, 6, 8, 9, 10)}
    assert shapes == {1: (1, 1), 3: (1, 3), 4: (1, 4), 6: (2, 3), 8: (2, 4), 9: (3, 3), 10: (3, 4)}


def test_the_axis_ends_above_the_best_score() -> None:
    found = [score_ceiling(np.array([best, np.nan])) for best in (0, 15, 17, 76, 77, 100, np.nan, 113, 1000)]
    assert found == [20, 20, 40, 80, 100, 100, 100, 120, 1020]


def test_scores_above_a_hundred_are_drawn_inside_their_axes() -> None:
    """CIDEr-D of good captions is 113, and 1000 at most."""
    drawn = matrix([[10, 20, 5], [600, 15, 5], [167, 70, None], [113, 30, 80]])
    assert png_bytes(matrix_figure(drawn))
    cells = [mark.opacity for mark in matrix_figure(drawn).marks if isinstance(mark, Shape) and mark.color == BLUE]
    assert max(cells) == pytest.approx(0.6)
    curve = curve_figure(drawn, 0)
    np.testing.assert_allclose(heights(curve, dots(curve, BLUE)), [600, 167, 113])
    assert min(dots(curve, BLUE)) > 22


def test_matrix_prints_values_dashes_for_nulls_and_outlines_the_diagonal() -> None:
    drawing = matrix_figure(matrix())
    cells = ["10.0", "20.0", "5.0", "60.0", "15.0", "5.0", "40.0", "70.0", "\u2013", "50.0", "30.0", "80.0"]
    assert texts(drawing)[-12:] == cells
    assert texts(drawing)[1:9] == ["after", "a", "b", "c", "zero-shot", "a", "b", "c"]
    outlined = boxes(drawing, ORANGE, outlined=True)
    steps = np.diff(np.array(outlined), axis=0)
    assert len(outlined) == 3
    np.testing.assert_allclose(steps, [[250, 36, 250, 36]] * 2)  # a column further, a row down
    filled = [mark.opacity for mark in drawing.marks if isinstance(mark, Shape) and mark.color == BLUE]
    scores = matrix().scores.ravel()
    np.testing.assert_allclose(filled, 0.006 * scores[~np.isnan(scores)])


def test_a_curve_holds_a_column_of_the_matrix() -> None:
    drawing = curve_figure(matrix(), 1)
    np.testing.assert_allclose(heights(drawing, dots(drawing, MUTED)), [20, 15, 70])
    np.testing.assert_allclose(heights(drawing, dots(drawing, BLUE)), [70, 30])
    np.testing.assert_allclose(heights(drawing, dots(drawing, ORANGE)), [70])
    assert texts(drawing, size=10)[-2:] == ["70.0", "30.0"]
    assert drawing.description == "Score in percent: zero-shot 20.0, right after its training 70.0, at the end 30.0."


def test_a_curve_is_broken_where_a_cell_is_missing() -> None:
    drawing = curve_figure(matrix([[10, 20, 5], [60, 15, 5], [None, 70, 5], [50, 30, 80]]), 0)
    np.testing.assert_allclose(heights(drawing, dots(drawing, BLUE)), [60, 50])
    lines = [mark for mark in drawing.marks if isinstance(mark, Shape) and mark.color == BLUE]
    assert [len(mark.points) for mark in lines] == [1, 1], "no line joins the two"


@pytest.mark.parametrize("count", [1, 3, 5, 8, 10])
def test_panels_for_any_number_of_tasks(make_run: MakeRun, count: int) -> None:
    tasks = (*TASKS, "extra_one", "extra_two")[:count]
    found = load_matrix(make_run(tasks=tasks, answers=4, images=False, router=False))
    assert len(texts(curves_figure(found), bold=True)) == count
    assert len(boxes(bars_figure(found), BLUE)) == count


def test_bars_of_a_partial_run_show_the_trained_tasks(make_run: MakeRun) -> None:
    found = load_matrix(make_run(finished=2, answers=8, images=False))
    drawing = bars_figure(found)
    for color, scores in ((BLUE, found.immediate), (ORANGE, found.scores[2])):
        np.testing.assert_allclose(heights(drawing, [top for _, top, _, _ in boxes(drawing, color)]), scores[:2])
    assert texts(drawing)[:3] == ["right after its training", "now", "zero-shot"]
    assert drawing.description.startswith("ScienceQA: zero-shot 0.0, right after its training 87.5, now 62.5; TextVQA")


def test_save_figures_writes_what_the_run_allows(make_run: MakeRun) -> None:
    started = load_run(make_run("started", finished=0, answers=4, images=False))
    assert list(save_figures(started, started.path / "figures")) == ["matrix"]
    run = load_run(make_run(finished=2, answers=4, images=False))
    files = save_figures(run, run.path / "figures")
    assert list(files) == ["matrix", "forgetting_curves", "immediate_final", "router_load", "router_layers"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files.values())
