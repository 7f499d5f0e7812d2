"""Both ways of judging in one figure: exact rules, and judges, on the same answers."""

import numpy as np

from coin_lightning.reporting.drawing import CYCLE, MUTED, WIDTH, Drawing, Text
from coin_lightning.reporting.names import percent, signed
from coin_lightning.reporting.panel import Panel, round_values
from coin_lightning.reporting.run_matrix import RunMatrix

RULES = "rules (truth alignment)"


def both_ways_figure(matrix: RunMatrix) -> Drawing:
    """Left: mean score of the tasks seen so far, along the sequence. Right: how each task changed from its own training
    to the last finished row. A line and a bar for the rules, and for each judge."""
    views = {RULES: matrix, **{f"judge: {name}": matrix.judged(name) for name in matrix.judges}}
    means = {label: view.seen_mean[1 : matrix.last + 1] for label, view in views.items()}
    last = ", ".join(f"{label} {percent(mean[-1])}" for label, mean in means.items())
    height = 130 + 18 * len(views) * max(matrix.last - 1, 5)
    drawing = Drawing(WIDTH, height, "Scores by the rules and by judges", f"Mean score of the tasks seen: {last}.")
    drawing.legend([(label, color, 10) for label, color in zip(views, CYCLE, strict=False)])
    tasks = len(matrix.tasks)
    left = Panel(drawing, 34, 58, 330, height - 94, (0.5, tasks + 0.5), (0, 100))
    drawing.heading(0, 40, "Mean score of the tasks seen (%)")
    left.y_values(range(0, 101, 20))
    left.x_values(range(1, tasks + 1))
    drawing.add(Text(left.left + left.width / 2, height - 10, "number of tasks trained so far", color=MUTED))
    for color, mean in zip(CYCLE, means.values(), strict=False):
        left.curve(range(1, len(mean) + 1), mean, color, radius=3)
    _changes(drawing, height, views)
    return drawing


def _changes(drawing: Drawing, height: float, views: dict[str, RunMatrix]) -> None:
    """Horizontal bars: last finished row minus right after its own training, in points; none of a judge that has not
    judged this row."""
    first = next(iter(views.values()))
    tasks = max(first.last - 1, 0)  # the last one cannot have changed
    changes = [(view.scores[first.last] - view.immediate)[:tasks] for view in views.values()]
    far = [0.0, *(float(value) for change in changes for value in change if not np.isnan(value))]
    low, high = min(far), max(far)
    room = 0.15 * max(high - low, 10)  # for the numbers beside the bars
    sides = low - room * (low < 0), high + room * (high > 0 or low == 0)
    panel = Panel(drawing, 480, 58, WIDTH - 486, height - 94, sides, (max(tasks, 1) - 0.5, -0.5))
    drawing.heading(400, 40, "Change since its own training (points)")
    panel.x_values(round_values(low, high), grid=True)
    thick = min(0.8, 0.2 * tasks) / len(views)
    for number, (color, change) in enumerate(zip(CYCLE, changes, strict=False)):
        for task, value in enumerate(change):
            y = task + thick * (number - len(views) / 2)
            panel.bar((0, value), (y, y + 0.9 * thick), color)
            beside = ((-4, 0), "end") if value < 0 else ((4, 0), "start")
            panel.number(value, y + 0.45 * thick, signed(value), *beside)
    panel.curve((0, 0), panel.y, MUTED, 1, 0)
    names = [first.title(task) for task in first.tasks[:tasks]]
    drawing.add(*(Text(panel.left - 6, panel.at(0, task)[1], name, "end") for task, name in enumerate(names)))
