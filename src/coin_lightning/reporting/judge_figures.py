"""Both ways of judging in one picture: exact rules, and judges, on the same answers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coin_lightning.reporting.names import signed
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.style import CYCLE, INK, MUTED, WIDTH, heading, new_figure, tidy

RULES = "rules (truth alignment)"


def both_ways_figure(matrix: RunMatrix) -> Figure:
    """Left: mean score of the tasks seen so far, along the sequence. Right: how each task changed from its own training
    to the last finished row. A line and a bar for the rules, and for each judge."""
    views = {RULES: matrix, **{f"judge: {name}": matrix.judged(name) for name in matrix.judges}}
    figure = new_figure(WIDTH, 1.1 + 0.17 * len(views) * max(matrix.last - 1, 5))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    for color, (label, view) in zip(CYCLE, views.items(), strict=False):
        curve = seen_mean(view)
        steps = np.arange(1, len(curve) + 1)
        left.plot(steps, curve, color=color, linewidth=2, marker="o", markersize=4, label=label)
    left.set(xlim=(0.5, len(matrix.tasks) + 0.5), ylim=(0, 100), xticks=np.arange(1, len(matrix.tasks) + 1))
    left.set_xlabel("number of tasks trained so far", fontsize=8.5, color=MUTED)
    tidy(left)
    heading(left, "Mean score of the tasks seen (%)")
    _changes(right, views)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def seen_mean(matrix: RunMatrix) -> np.ndarray:
    """``[last]`` mean over the tasks trained so far, after each task; NaN where a cell is missing."""
    return np.array([matrix.scores[row, :row].mean() for row in range(1, matrix.last + 1)])


def _changes(ax: Axes, views: dict[str, RunMatrix]) -> None:
    """Horizontal bars: last finished row minus right after its own training, in points."""
    first = next(iter(views.values()))
    tasks = max(first.last - 1, 0)  # the last one cannot have changed
    height = 0.8 / len(views)
    for number, (color, view) in enumerate(zip(CYCLE, views.values(), strict=False)):
        change = (view.final - view.immediate)[:tasks]
        places = np.arange(tasks) - 0.4 + height * (number + 0.5)
        ax.barh(places, np.nan_to_num(change), height * 0.9, color=color)
        for place, value in zip(places, change, strict=True):
            if not np.isnan(value):
                side = "right" if value < 0 else "left"
                ax.annotate(signed(float(value)), (value, place), xytext=(3 if value >= 0 else -3, 0), ha=side,
                            textcoords="offset points", va="center", fontsize=7.5, color=INK)  # fmt: skip
    ax.axvline(0, color=MUTED, linewidth=1)
    ax.set_yticks(np.arange(tasks), [first.title(task) for task in first.tasks[:tasks]])
    ax.set(ylim=(max(tasks, 1) - 0.5, -0.5))
    ax.margins(x=0.22)
    tidy(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    heading(ax, "Change since its own training (points)")
