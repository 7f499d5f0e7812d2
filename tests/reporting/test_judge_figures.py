"""The figure of rules and judges shows the numbers of the matrix."""

import json
from pathlib import Path

import numpy as np
from fake_run import add_judge, build_run
from readings import boxes, dots, heights, texts

from coin_lightning.reporting.drawing import BLUE, GREEN, ORANGE
from coin_lightning.reporting.judge_figures import both_ways_figure
from coin_lightning.reporting.names import signed
from coin_lightning.reporting.run_matrix import load_matrix


def test_a_line_and_a_bar_for_the_rules_and_for_each_judge(tmp_path: Path) -> None:
    run = build_run(tmp_path, tasks=("gqa", "vqav2", "ocrvqa"), images=False)
    add_judge(run, "first")
    add_judge(run, "second")
    loaded = load_matrix(run)
    drawing = both_ways_figure(loaded)
    assert texts(drawing)[:3] == ["rules (truth alignment)", "judge: first", "judge: second"]
    np.testing.assert_allclose(heights(drawing, dots(drawing, BLUE)[:3]), loaded.seen_mean[1:])
    np.testing.assert_allclose(heights(drawing, dots(drawing, GREEN)[:3]), 50 + loaded.seen_mean[1:] / 2)
    change = (loaded.final - loaded.immediate)[:2]
    rules, judge = (np.array(boxes(drawing, color)) for color in (BLUE, ORANGE))
    np.testing.assert_allclose((judge[:, 2] - judge[:, 0]) / (rules[:, 2] - rules[:, 0]), 0.5)
    np.testing.assert_allclose(np.divide(*(rules[:, 2] - rules[:, 0])), np.divide(*change))
    assert {signed(float(value)) for value in [*change, *change / 2]} <= set(texts(drawing, size=10))
    assert texts(drawing, anchor="end", size=11) == ["GQA", "VQAv2"]


def test_a_row_that_was_not_judged_is_not_compared_with_an_earlier_one(tmp_path: Path) -> None:
    """Else a judge whose server died would seem to see no forgetting."""
    run = build_run(tmp_path, tasks=("gqa", "vqav2", "ocrvqa"), images=False)
    add_judge(run)
    file = run / "matrix.json"
    content = json.loads(file.read_text())
    for part in ("scores", "counts", "unparsed"):
        content["judges"]["embedding"][part][3] = [None] * 3
    file.write_text(json.dumps(content))
    drawing = both_ways_figure(load_matrix(run))
    assert len(boxes(drawing, BLUE)) == 2
    assert boxes(drawing, ORANGE) == []
    assert len(dots(drawing, ORANGE)) == 2


def test_after_the_first_task_nothing_can_have_changed(tmp_path: Path) -> None:
    run = build_run(tmp_path, tasks=("gqa", "vqav2"), finished=1, images=False)
    add_judge(run)
    drawing = both_ways_figure(load_matrix(run))
    assert len(dots(drawing, BLUE)) == 1
    assert not boxes(drawing, BLUE)
