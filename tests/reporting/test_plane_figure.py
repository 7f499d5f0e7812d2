"""The plane of plasticity and stability."""

import dataclasses

import numpy as np
from readings import heights, texts
from small_matrix import content

from coin_lightning.reporting.drawing import BLUE, Dot
from coin_lightning.reporting.overview import group_by_method
from coin_lightning.reporting.plane_figure import pareto_front, plane_figure
from coin_lightning.reporting.run_matrix import RunMatrix, parse_matrix


def run(method: str, seed: int, learned: float | None, kept: float) -> RunMatrix:
    metrics = {"learning_accuracy": learned, "bwt": kept}
    return parse_matrix(content(method=method, seed=seed, metrics=metrics))


def test_the_front_by_hand():
    points = np.array([[1.0, 5.0], [2.0, 4.0], [2.0, 3.0], [3.0, 1.0], [0.5, 4.9], [np.nan, 9.0]])
    assert pareto_front(points) == [0, 1, 3]
    assert pareto_front(np.array([[1.0, 1.0], [1.0, 1.0]])) == [0, 1]  # equal ones do not beat each other


def test_means_stand_where_the_axes_say():
    groups = group_by_method([run("lora", 1, 60, -20), run("lora", 2, 64, -10), run("moelora", 1, 50, -5)])
    drawing = plane_figure(groups)
    large = [mark for mark in drawing.marks if isinstance(mark, Dot) and mark.radius > 6]
    np.testing.assert_allclose(heights(drawing, [mark.center[1] for mark in large]), [-15, -5])
    small = [mark for mark in drawing.marks if isinstance(mark, Dot) and mark.color == BLUE and mark.radius < 3]
    np.testing.assert_allclose(sorted(heights(drawing, [mark.center[1] for mark in small])), [-20, -10])
    assert {"1  LoRA (2 seeds), on the front", "2  MoELoRA (1 seed), on the front"} <= set(texts(drawing))
    assert "LoRA: 62.0 %, -15.0 points" in drawing.description


def test_a_mean_says_over_how_many_of_the_runs_it_is():
    groups = group_by_method([run("lora", 1, 60, -20), run("lora", 2, 64, -10), run("moelora", 1, 50, -5)])
    unfinished = dataclasses.replace(groups[0].runs[0], seed=3, metrics={"acc": 9.0})
    drawing = plane_figure([dataclasses.replace(groups[0], runs=(*groups[0].runs, unfinished)), groups[1]])
    assert "1  LoRA (2 of 3 seeds), on the front" in texts(drawing)


def test_groups_behind_many_without_numbers_are_drawn():
    """Seven groups, the last two finished."""
    runs = [dataclasses.replace(run("lora", 1, None, -5), protocol={"rank": rank}) for rank in range(5)]
    groups = group_by_method([*runs, run("lora", 1, 60, -20), run("moelora", 1, 50, -5)])
    drawing = plane_figure(groups)
    large = [mark for mark in drawing.marks if isinstance(mark, Dot) and mark.radius > 6]
    np.testing.assert_allclose(heights(drawing, [mark.center[1] for mark in large]), [-20, -5])
    assert any(text.startswith("7  MoELoRA") for text in texts(drawing))


def test_no_plane_for_one_group_or_without_numbers():
    first = run("lora", 1, 60, -20)
    assert plane_figure(group_by_method([first, dataclasses.replace(first, seed=2)])) is None
    assert plane_figure(group_by_method([first, run("moelora", 1, None, -5)])) is None
