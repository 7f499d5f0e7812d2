"""The figure of rules and judges shows the numbers of the matrix."""

from pathlib import Path

import numpy as np
from fake_run import add_judge, build_run
from matplotlib import pyplot as plt
from small_matrix import matrix

from coin_lightning.reporting.judge_figures import both_ways_figure, seen_mean
from coin_lightning.reporting.run_matrix import load_matrix


def test_the_mean_of_the_tasks_seen() -> None:
    np.testing.assert_allclose(seen_mean(matrix()), [60, (40 + 70) / 2, (50 + 30 + 80) / 3])


def test_a_line_and_a_bar_for_the_rules_and_for_each_judge(tmp_path: Path) -> None:
    run = build_run(tmp_path, tasks=("gqa", "vqav2", "ocrvqa"), pictures=False)
    add_judge(run, "first")
    add_judge(run, "second")
    loaded = load_matrix(run)
    left, right = both_ways_figure(loaded).axes
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    assert list(lines) == ["rules (truth alignment)", "judge: first", "judge: second"]
    np.testing.assert_allclose(lines["rules (truth alignment)"], seen_mean(loaded))
    np.testing.assert_allclose(lines["judge: first"], 50 + seen_mean(loaded) / 2)
    change = (loaded.final - loaded.immediate)[:2]
    widths = [bar.get_width() for bar in right.patches]
    np.testing.assert_allclose(widths, [*change, *change / 2, *change / 2])
    assert [label.get_text() for label in right.get_yticklabels()] == ["GQA", "VQAv2"]
    plt.close("all")


def test_after_the_first_task_nothing_can_have_changed(tmp_path: Path) -> None:
    run = build_run(tmp_path, tasks=("gqa", "vqav2"), finished=1, pictures=False)
    add_judge(run)
    left, right = both_ways_figure(load_matrix(run)).axes
    assert len(left.lines[0].get_ydata()) == 1
    assert not right.patches
    plt.close("all")
