"""Figures of one run: score matrix, forgetting curves, immediate against final scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from coin_lightning.reporting.names import percent
from coin_lightning.reporting.router_figures import router_layers_figure, router_load_figure
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    SCORE_MAP,
    WIDTH,
    heading,
    new_figure,
    save_png,
    text_on,
    tidy,
)


def score_ceiling(matrix: RunMatrix) -> float:
    """Upper end of a percent axis: the next multiple of 20 above the best score, 20 to 100."""
    best = float(np.nanmax(matrix.scores)) if matrix.last >= 0 else 100.0
    return float(min(100, max(20, 20 * np.ceil((best + 4) / 20))))


def grid_shape(panels: int) -> tuple[int, int]:
    """(rows, columns) for small multiples: up to four in a row, three when that leaves fewer holes."""
    columns = panels if panels <= 4 else min((4, 3), key=lambda width: (-panels % width, -width))
    return -(-panels // columns), columns


def matrix_figure(matrix: RunMatrix) -> Figure:
    """Heat map of the score matrix: one row per experience, zero-shot first; hatched cells were not evaluated."""
    tasks = len(matrix.tasks)
    rows = matrix.shown
    figure = new_figure(WIDTH, 1.3 + 0.42 * len(rows))
    ax = figure.add_subplot()
    for place, column in np.ndindex(len(rows), tasks):
        _cell(ax, matrix, rows[place], column, place)
    ax.set(xlim=(0, tasks), ylim=(max(len(rows), 1), 0))
    ax.set_xticks(np.arange(tasks) + 0.5, [matrix.title(task) for task in matrix.tasks])
    ax.set_yticks(np.arange(len(rows)) + 0.5, [matrix.title(matrix.rows[row]) for row in rows])
    tidy(ax, grid=None)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_ylabel("after training on", color=MUTED, fontsize=8.5)
    heading(ax, "Score on each task (%) along the sequence; outlined: right after its own training")
    return figure


def _cell(ax: Axes, matrix: RunMatrix, row: int, column: int, place: int) -> None:
    value = matrix.scores[row, column]
    corner = (column + 0.03, place + 0.04)
    if np.isnan(value):
        ax.add_patch(Rectangle(corner, 0.94, 0.92, facecolor="none", edgecolor=GRID, hatch="////", linewidth=0))
    else:
        color = SCORE_MAP(value / 100)
        ax.add_patch(Rectangle(corner, 0.94, 0.92, facecolor=color, linewidth=0))
        ax.text(column + 0.5, place + 0.52, percent(value), ha="center", va="center", fontsize=9, color=text_on(color))
    if matrix.is_own(row, column):
        ax.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, edgecolor=ORANGE, linewidth=1.8))


def draw_curve(ax: Axes, matrix: RunMatrix, task: int, ceiling: float) -> None:
    """Score on one task along the sequence into ``ax``.

    Dashed: zero-shot. Grey: before its training. Blue: from its training (marked) on.
    """
    steps, scores = np.arange(len(matrix.tasks) + 1), matrix.scores[:, task]
    trained = task + 1
    ax.axhline(matrix.zero_shot[task], color=MUTED, linewidth=1, dashes=(4, 3), label="zero-shot")
    before = [step for step in steps[: trained + 1] if not np.isnan(scores[step])]
    ax.plot(before, scores[before], color=MUTED, linewidth=1.1, marker="o", markersize=2.6, label="before its training",
            linestyle="-" if len(before) == trained + 1 else (0, (1, 2)))  # fmt: skip
    ax.plot(steps[trained:], scores[trained:], color=BLUE, linewidth=2, marker="o", markersize=3.4, label="after")
    ax.plot([trained], [scores[trained]], color=ORANGE, marker="o", markersize=7, linestyle="none",
            label="right after its training")  # fmt: skip
    _label(ax, trained, scores[trained], (0, 7), "center")
    if matrix.last > trained:
        _label(ax, matrix.last, scores[matrix.last], (6, -3), "left")
    ax.set(ylim=(-0.03 * ceiling, 1.12 * ceiling), xlim=(-0.4, 1.16 * len(matrix.tasks) + 0.4))
    ax.set_xticks(steps)
    ax.set_yticks(np.linspace(0, ceiling, 3))
    tidy(ax)
    heading(ax, matrix.title(matrix.tasks[task]))


def _label(ax: Axes, step: int, score: float, offset: tuple[int, int], side: str) -> None:
    if not np.isnan(score):
        ax.annotate(percent(score), (step, score), xytext=offset, textcoords="offset points", ha=side,
                    fontsize=8, color=INK)  # fmt: skip


def curve_figure(matrix: RunMatrix, task: int) -> Figure:
    """One small forgetting curve, for pages that arrange the panels themselves."""
    figure = new_figure(2.7, 1.75)
    ax = figure.add_subplot()
    draw_curve(ax, matrix, task, score_ceiling(matrix))
    ax.set_title("", loc="left")
    return figure


def curves_figure(matrix: RunMatrix) -> Figure:
    """Forgetting curves of all tasks as small multiples with common axes."""
    rows, columns = grid_shape(len(matrix.tasks))
    figure = new_figure(WIDTH, 0.7 + 1.75 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    for task, ax in enumerate(axes[: len(matrix.tasks)]):
        draw_curve(ax, matrix, task, score_ceiling(matrix))
        ax.tick_params(labelbottom=task + columns >= len(matrix.tasks))
    for ax in axes[len(matrix.tasks) :]:
        ax.remove()
    figure.supxlabel("number of tasks trained so far", fontsize=8.5, color=MUTED)
    figure.supylabel("score on the task (%)", fontsize=8.5, color=MUTED)
    handles, labels = axes[-1 if rows * columns == len(matrix.tasks) else 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def bars_figure(matrix: RunMatrix) -> Figure:
    """Per task: zero-shot mark, score right after its training, score at the end, and the difference."""
    tasks = [task for task in range(len(matrix.tasks)) if task < max(matrix.last, 1)]
    figure = new_figure(WIDTH, 3.1)
    ax = figure.add_subplot()
    middle = np.arange(len(tasks), dtype=float)
    immediate, final = matrix.immediate[tasks], matrix.final[tasks]
    if matrix.learned == "sequence":
        ax.bar(middle - 0.2, immediate, 0.36, color=BLUE, label="right after its training")
    ax.bar(middle + 0.2, final, 0.36, color=ORANGE, label="at the end" if matrix.is_complete else "now")
    ax.hlines(matrix.zero_shot[tasks], middle - 0.42, middle + 0.42, color=INK, linewidth=1.4, label="zero-shot")
    for x, values in ((-0.2, immediate), (0.2, final)):
        for place, value in zip(middle, values, strict=True):
            if not np.isnan(value):
                ax.text(place + x, value + 1, f"{value:.0f}", ha="center", va="bottom", fontsize=8, color=INK)
    ax.set_xticks(middle, [matrix.title(matrix.tasks[task]) for task in tasks])
    ax.set(ylim=(0, 1.08 * score_ceiling(matrix)), xlim=(-0.6, max(len(tasks), 3) - 0.4))
    ax.set_ylabel("score (%)", fontsize=8.5, color=MUTED)
    tidy(ax)
    ax.tick_params(axis="x", length=0)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def save_figures(run: RunArtifacts, folder: Path) -> dict[str, Path]:
    """Write every figure that the run allows as PNG: name -> file.

    ``matrix``, ``forgetting_curves``, ``immediate_final``, and with a router ``router_load``, ``router_layers``.

    Raises:
        RunError: an artefact is garbled.
    """
    drawn: dict[str, Callable[[], Figure]] = {"matrix": lambda: matrix_figure(run.matrix)}
    if run.matrix.last >= 1:
        if run.matrix.learned == "sequence":
            drawn["forgetting_curves"] = lambda: curves_figure(run.matrix)
        drawn["immediate_final"] = lambda: bars_figure(run.matrix)
    router = run.router
    if router is not None:
        drawn["router_load"] = lambda: router_load_figure(router)
        drawn["router_layers"] = lambda: router_layers_figure(router)
    return {name: save_png(draw(), folder / f"{name}.png") for name, draw in drawn.items()}
