"""Axes: places of values, round numbers, and heat maps with holes."""

import numpy as np
import pytest
from readings import boxes, texts

from coin_lightning.reporting.drawing import BLUE, GRID, Drawing, Shape
from coin_lightning.reporting.panel import Panel, heat_map, round_values


def panel() -> Panel:
    return Panel(Drawing(200, 100, "", ""), 50, 10, 100, 80, (0, 10), (-1, 1))


def test_values_have_their_places() -> None:
    axes = panel()
    assert [axes.at(0, 1), axes.at(10, -1), axes.at(5, 0)] == [(50, 10), (150, 90), (100, 50)]


def test_bars_go_both_ways_and_not_where_nothing_is_known() -> None:
    axes = panel()
    for end in (0.5, -0.5, np.nan):
        axes.bar((2, 3), (0, end), BLUE)
    assert boxes(axes.drawing, BLUE) == [(70, 30, 80, 50), (70, 50, 80, 70)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 100, [0, 50, 100]), (-62.5, 0, [-60, -40, -20, 0]), (-3, 9, [0, 5]), (0, 0.04, [0, 0.01, 0.02, 0.03, 0.04])],
)
def test_round_values(low: float, high: float, expected: list[float]) -> None:
    assert round_values(low, high) == pytest.approx(expected)


def test_numbers_at_an_axis_have_a_true_minus() -> None:
    axes = panel()
    axes.y_values([-0.5, 1])
    assert texts(axes.drawing) == ["\u22120.5", "1"]


def test_a_missing_cell_is_a_dash_in_a_frame_and_narrow_cells_have_no_numbers() -> None:
    drawing = Drawing(200, 100, "", "")
    heat_map(drawing, (100, 20), 30, np.array([[12.0, np.nan]]), ["row"], ["x", "y"], lambda value: (BLUE, value / 100))
    assert texts(drawing) == ["x", "y", "row", "12.0", "\u2013"]
    assert boxes(drawing, GRID, outlined=True) == [(151, 21, 199, 49)]
    assert [mark.opacity for mark in drawing.marks if isinstance(mark, Shape) and mark.color == BLUE] == [0.12]
    narrow = Drawing(200, 100, "", "")
    heat_map(narrow, (0, 0), 30, np.ones((1, 20)), [], [], lambda value: (BLUE, value))
    assert texts(narrow) == []
