"""Plasticity against stability: how well methods learn, and how well they keep it."""

from collections.abc import Sequence

import numpy as np

from coin_lightning.reporting.drawing import CYCLE, INK, MUTED, WIDTH, Dot, Drawing, Shape, Text
from coin_lightning.reporting.overview import MOST_SHOWN, MethodGroup
from coin_lightning.reporting.panel import Panel, round_values

HEIGHT, LINE = 380.0, 19.0
LEAST = 4.0
"""Points; a difference of less is not blown up to the whole width."""


def pareto_front(points: np.ndarray) -> list[int]:
    """Which of `points` [N, 2], larger being better in both, no other beats in one without losing in the other; by the
    first coordinate."""
    beaten = [
        any((other >= point).all() and (other > point).any() for other in points if not np.isnan(other).any())
        for point in points
    ]
    kept = [at for at in range(len(points)) if not beaten[at] and not np.isnan(points[at]).any()]
    return sorted(kept, key=lambda at: (points[at][0], -points[at][1]))


def plane_figure(groups: Sequence[MethodGroup]) -> Drawing | None:
    """Learning accuracy to the right, backward transfer upwards: a large dot for the mean of a group over its runs that
    have both, small ones for these runs while every group has a colour of its own, a dashed line for the Pareto front
    of the means. None where fewer than two groups have both.

    Groups are numbered and listed, so that they can be told apart; of more than `MOST_SHOWN` only those on the front.
    """
    runs = [_points(group) for group in groups]
    shown = [at for at, points in enumerate(runs) if len(points)]
    if len(shown) < 2:
        return None
    means = np.array([points.mean(axis=0) if len(points) else (np.nan, np.nan) for points in runs])
    front, every = pareto_front(means), np.concatenate([runs[at] for at in shown])
    listed = shown if len(shown) <= MOST_SHOWN else front
    columns = 2 if len(listed) > 3 else 1
    rows = -(-len(listed) // columns)
    numbers = "; ".join(f"{groups[at].label}: {means[at][0]:.1f} %, {means[at][1]:+.1f} points" for at in listed)
    head = "Plasticity and stability"
    drawing = Drawing(WIDTH, HEIGHT + rows * LINE + 8, head, f"Learning accuracy and backward transfer. {numbers}.")
    panel = Panel(drawing, 56, 30, WIDTH - 72, HEIGHT - 82, _span(every[:, 0]), _span(every[:, 1]))
    panel.y_values(round_values(*panel.y, 6))
    panel.x_values(round_values(*panel.x, 7), grid=True)
    drawing.add(
        Text(panel.left + panel.width / 2, HEIGHT - 22, "learning accuracy (%): learns better →", color=MUTED),
        Text(panel.left - 30, 10, "↑ backward transfer (points): keeps more", "start", color=MUTED),
    )
    if len(front) > 1:
        drawing.add(Shape([panel.at(*means[at]) for at in front], MUTED, 1.4, dashed=True))
    if len(groups) <= len(CYCLE):
        drawing.add(*(Dot(panel.at(*point), CYCLE[at], 2.6) for at in shown for point in runs[at]))
    drawing.add(*(Dot(panel.at(*means[at]), MUTED, 3.5) for at in shown if at not in listed))
    drawing.add(*(Dot(panel.at(*means[at]), CYCLE[at % len(CYCLE)], 6.5) for at in listed))
    for at in listed:
        x, y = panel.at(*means[at])
        drawing.add(Text(x + 9, y - 9, str(at + 1), "start", 12, bold=True))
    for place, at in enumerate(listed):
        x, y = 56 + place // rows * (WIDTH - 56) / columns, HEIGHT + place % rows * LINE
        known = groups[at].seeds if len(runs[at]) == len(groups[at].runs) else f"{len(runs[at])} of {groups[at].seeds}"
        name = f"{at + 1}  {groups[at].label} ({known}){', on the front' if at in front else ''}"
        drawing.add(Dot((x, y), CYCLE[at % len(CYCLE)], 5), Text(x + 11, y, name, "start", color=INK))
    return drawing


def _points(group: MethodGroup) -> np.ndarray:
    """[R, 2] learning accuracy and backward transfer of the runs that have both."""
    pairs = [(run.metrics.get("learning_accuracy"), run.metrics.get("bwt")) for run in group.runs]
    return np.array([pair for pair in pairs if None not in pair], dtype=float).reshape(-1, 2)


def _span(values: np.ndarray) -> tuple[float, float]:
    """Ends of an axis with room around the values, and at least `LEAST` long."""
    low, high = float(values.min()), float(values.max())
    room = max(0.12 * (high - low), (LEAST - high + low) / 2)
    return low - room, high + room
