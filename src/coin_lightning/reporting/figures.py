"""Figures of one run: score matrix, forgetting curves, immediate against final scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coin_lightning.reporting.drawing import (
    BLUE,
    INK,
    LEGEND_LINE,
    MUTED,
    ORANGE,
    WIDTH,
    Drawing,
    Key,
    Shape,
    Text,
    box,
    legend_lines,
)
from coin_lightning.reporting.names import percent
from coin_lightning.reporting.panel import STRONGEST, Panel, heat_map
from coin_lightning.reporting.rendering import save_png
from coin_lightning.reporting.router_figures import router_layers_figure, router_load_figure
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix

PANEL = (WIDTH / 4, 165.0)
"""Width and height of one forgetting curve, pixels."""
CURVE_LEGEND: tuple[Key, ...] = (
    ("before its training", MUTED, 2.0),
    ("right after its training", ORANGE, 10.0),
    ("later", BLUE, 2.0),
    ("zero-shot", MUTED, 0.0),
)


def score_ceiling(scores: np.ndarray) -> float:
    """Upper end of a percent axis: the next multiple of 20 above the best score, 20 to 100, and beyond for what exceeds
    that (CIDEr-D)."""
    best = 100.0 if np.isnan(scores).all() else float(np.nanmax(scores))
    end = float(max(20, 20 * np.ceil((best + 4) / 20)))
    return end if best > 100 else min(100.0, end)


def grid_shape(panels: int) -> tuple[int, int]:
    """(rows, columns) for small multiples: up to four in a row, three when that leaves fewer holes."""
    columns = panels if panels <= 4 else min((4, 3), key=lambda width: (-panels % width, -width))
    return -(-panels // columns), columns


def curve_panels(drawing: Drawing, heads: list[str], tasks: int, ceiling: float, top: float = 0) -> list[Panel]:
    """Axes for small multiples below ``top``: number of tasks trained so far, and percent."""
    columns = grid_shape(len(heads))[1]
    width, panels = drawing.width / columns, []
    for index, head in enumerate(heads):
        x, y = index % columns * width, top + index // columns * PANEL[1]
        drawing.heading(x, y + 10, head)
        # room for a number at the right of the last point, and above the highest
        values = (-0.4, 1.16 * tasks + 0.4), (-0.03 * ceiling, 1.12 * ceiling)
        panel = Panel(drawing, x + 30, y + 22, width - 38, PANEL[1] - 44, *values)
        panel.y_values(np.linspace(0, ceiling, 3))
        panel.x_values(range(0, tasks + 1, 1 + tasks // 12))
        panels.append(panel)
    return panels


def small_multiples(
    head: str, heads: list[str], tasks: int, ceiling: float, keys: Sequence[Key]
) -> tuple[Drawing, list[Panel]]:
    """A drawing of forgetting curves below a legend, and its panels, to be filled."""
    legend = 28 + LEGEND_LINE * (len(legend_lines(keys, WIDTH)) - 1)
    rows = grid_shape(len(heads))[0]
    what = "number of tasks trained so far"
    drawing = Drawing(WIDTH, legend + rows * PANEL[1] + 16, head, f"Score (%) against the {what}.")
    drawing.legend(keys)
    drawing.add(Text(WIDTH / 2, drawing.height - 8, what, color=MUTED))
    return drawing, curve_panels(drawing, heads, tasks, ceiling, legend)


def matrix_figure(matrix: RunMatrix) -> Drawing:
    """Heat map of the score matrix: one row per experience, zero-shot first; a dash was not evaluated."""
    rows, (left, top), height = matrix.shown, (110.0, 50.0), 36.0
    width = (WIDTH - left) / len(matrix.tasks)
    head = "Score on each task (%) along the sequence; outlined: right after its own training"
    drawing = Drawing(WIDTH, top + height * len(rows) + 2, head, "Rows: after training on; columns: score on.")
    drawing.heading(0, 12, head)
    drawing.add(Text(left - 8, top - 10, "after", "end", color=MUTED))
    names = [matrix.title(matrix.rows[row]) for row in rows], [matrix.title(task) for task in matrix.tasks]
    heat_map(drawing, (left, top), height, matrix.scores[rows], *names, _shade)
    own = [(place, row - 1) for place, row in enumerate(rows) if row and matrix.is_own(row, row - 1)]
    frame = width - 4, height - 4, ORANGE
    drawing.add(*(box(left + at * width + 2, top + place * height + 2, *frame, outline=2) for place, at in own))
    return drawing


def _shade(score: float) -> tuple[str, float]:
    return BLUE, STRONGEST * min(score, 100) / 100


def draw_curve(panel: Panel, matrix: RunMatrix, task: int) -> None:
    """Score on one task along the sequence. Dashed: zero-shot. Grey: before its training. Blue: from then on.

    Where the steps before its training were not evaluated, a dashed line joins zero-shot and its training.
    """
    own, scores = task + 1, matrix.scores[:, task]
    steps = range(len(scores))
    known = [step for step in steps[: own + 1] if not np.isnan(scores[step])]
    panel.level(scores[0])
    if 1 < len(known) <= own:
        panel.drawing.add(Shape([panel.at(step, scores[step]) for step in known], MUTED, 1, dashed=True))
    panel.curve(steps[: own + 1], scores[: own + 1], MUTED, 1.2, 1.7)
    panel.curve(steps[own:], scores[own:], BLUE)
    panel.curve([own], scores[[own]], ORANGE, radius=4.2)
    panel.number(own, scores[own], percent(scores[own]), (0, -11))
    if matrix.last > own:
        panel.number(matrix.last, scores[matrix.last], percent(scores[matrix.last]), (6, -6), "start")


def curve_figure(matrix: RunMatrix, task: int) -> Drawing:
    """One small forgetting curve, for pages that arrange the panels themselves."""
    name, end = matrix.title(matrix.tasks[task]), "at the end" if matrix.is_complete else "now"
    shown = ("zero-shot", matrix.zero_shot), ("right after its training", matrix.immediate), (end, matrix.final)
    numbers = ", ".join(f"{label} {percent(scores[task])}" for label, scores in shown)
    drawing = Drawing(*PANEL, f"Forgetting curve of {name}", f"Score in percent: {numbers}.")
    (panel,) = curve_panels(drawing, [name], len(matrix.tasks), score_ceiling(matrix.scores))
    draw_curve(panel, matrix, task)
    return drawing


def curves_figure(matrix: RunMatrix) -> Drawing:
    """Forgetting curves of all tasks as small multiples with common axes."""
    heads, ceiling = [matrix.title(task) for task in matrix.tasks], score_ceiling(matrix.scores)
    drawing, panels = small_multiples("Forgetting curves", heads, len(heads), ceiling, CURVE_LEGEND)
    for task, panel in enumerate(panels):
        draw_curve(panel, matrix, task)
    return drawing


def bars_figure(matrix: RunMatrix) -> Drawing:
    """Per task: zero-shot mark, score right after its training, score at the end."""
    tasks, end = range(max(matrix.last, 1))[: len(matrix.tasks)], "at the end" if matrix.is_complete else "now"
    shown = [(end, ORANGE, matrix.final)]
    if matrix.training == "sequence":
        shown.insert(0, ("right after its training", BLUE, matrix.immediate))
    names, marks = [matrix.title(matrix.tasks[task]) for task in tasks], [("zero-shot", INK, matrix.zero_shot), *shown]
    numbers = [
        f"{name}: " + ", ".join(f"{label} {percent(scores[task])}" for label, _, scores in marks)
        for task, name in enumerate(names)
    ]
    drawing = Drawing(WIDTH, 290, "Score (%) of each task before, after and later", "; ".join(numbers) + ".")
    drawing.legend([*((label, color, 10) for label, color, _ in shown), ("zero-shot", INK, 2)])
    ceiling = score_ceiling(matrix.scores)
    beside = 0.1 + max(3 - len(tasks), 0) / 2  # few tasks stand in the middle
    panel = Panel(drawing, 34, 34, WIDTH - 38, 230, (-0.5 - beside, len(tasks) - 0.5 + beside), (0, 1.08 * ceiling))
    panel.y_values(np.linspace(0, ceiling, 5))
    panel.x_values(tasks, names)
    for task in tasks:
        for place, (_, color, scores) in enumerate(shown):
            middle = task + 0.38 * (place - (len(shown) - 1) / 2)
            panel.bar((middle - 0.18, middle + 0.18), (0, scores[task]), color)
            panel.number(middle, scores[task], percent(scores[task]))
        panel.curve((task - 0.42, task + 0.42), matrix.zero_shot[[task, task]], INK, 1.6, 0)
    return drawing


def save_figures(run: RunArtifacts, folder: Path) -> dict[str, Path]:
    """Write every figure that the run allows as PNG: name -> file.

    ``matrix``, ``forgetting_curves``, ``immediate_final``, and with a router ``router_load``, ``router_layers``.

    Raises:
        RunError: an artefact is garbled.
    """
    drawn = {"matrix": matrix_figure(run.matrix)}
    if run.matrix.last >= 1:
        if run.matrix.training == "sequence":
            drawn["forgetting_curves"] = curves_figure(run.matrix)
        drawn["immediate_final"] = bars_figure(run.matrix)
    if run.router is not None:
        drawn["router_load"] = router_load_figure(run.router)
        drawn["router_layers"] = router_layers_figure(run.router)
    return {name: save_png(figure, folder / f"{name}.png") for name, figure in drawn.items()}
