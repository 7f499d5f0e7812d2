"""Router figures: averages and spread worked out by hand."""

import numpy as np
import pytest
from readings import boxes, heights, texts

from coin_lightning.reporting.drawing import BLUE, ORANGE, PURPLE, Shape
from coin_lightning.reporting.panel import STRONGEST
from coin_lightning.reporting.router_figures import (
    blocks,
    mean_over_layers,
    router_layers_figure,
    router_load_figure,
    task_spread,
)
from coin_lightning.reporting.run_artifacts import RouterLoad

LOAD = np.array([[[0.8, 0.2], [0.5, 0.5]], [[0.4, 0.6], [0.5, 0.5]]])  # two tasks, two layers, two experts
ROUTER = RouterLoad("gqa", ("m.layers.3.q", "m.layers.11.q"), ("gqa", "textvqa"), LOAD, ("GQA", "TextVQA"))


def test_mean_over_layers() -> None:
    np.testing.assert_allclose(mean_over_layers(ROUTER), [[65, 35], [45, 55]])


def test_spread_is_total_variation_from_the_mean() -> None:
    np.testing.assert_allclose(task_spread(ROUTER), [20, 0], atol=1e-12)  # 0.8 and 0.4 lie 0.2 from 0.6


def test_blocks_are_ordered_by_number() -> None:
    assert blocks(("a.10.q", "a.2.q", "a.10.v")) == (["2", "10"], [[1], [0, 2]])
    assert blocks(("projector", "head")) == (["1", "2"], [[0], [1]])


def test_load_figure_prints_the_shares() -> None:
    drawing = router_load_figure(ROUTER)
    assert texts(drawing)[-4:] == ["65.0", "35.0", "45.0", "55.0"]
    assert "uniform: 50.0" in drawing.title
    found = [(mark.color, mark.opacity) for mark in drawing.marks if isinstance(mark, Shape)]
    strengths = [STRONGEST * share for share in (1, 1, 1 / 3, 1 / 3)]  # 15 and 5 points from uniform
    assert [color for color, _ in found] == [BLUE, ORANGE, ORANGE, BLUE]
    assert [opacity for _, opacity in found] == pytest.approx(strengths)


def test_layers_figure() -> None:
    drawing = router_layers_figure(ROUTER)
    assert [text for text in texts(drawing) if "." in text and len(text) == 4] == ["60.0", "50.0", "40.0", "50.0"]
    bars = boxes(drawing, PURPLE)
    tops = heights(drawing, [top for _, top, _, _ in bars])
    assert tops == pytest.approx([20, 0])
    assert texts(drawing)[-3:] == ["3", "11", "layer"]
