"""Where the router sends tokens: experts against tasks, and experts against layers."""

import re

import numpy as np

from coin_lightning.reporting.drawing import BLUE, MUTED, ORANGE, PURPLE, WIDTH, Drawing, Text
from coin_lightning.reporting.panel import STRONGEST, Panel, heat_map, round_values
from coin_lightning.reporting.run_artifacts import RouterLoad

SMALLEST_SPAN = 2.0  # points; a router closer to uniform than this is drawn pale instead of being blown up


def mean_over_layers(router: RouterLoad) -> np.ndarray:
    """``[N tasks, E]`` mean gate in percent."""
    return 100 * router.load.mean(axis=1)


def blocks(layers: tuple[str, ...]) -> tuple[list[str], list[list[int]]]:
    """Group modules by transformer block: (labels, indices of the modules of each).

    The block is the first whole number in the module name; when a name has none, every module stands for itself.
    """
    numbers = [re.search(r"(?:^|\.)(\d+)(?:\.|$)", name) for name in layers]
    if not layers or any(number is None for number in numbers):
        return [str(index + 1) for index in range(len(layers))], [[index] for index in range(len(layers))]
    found = [int(number.group(1)) for number in numbers if number is not None]
    order = sorted(set(found))
    return [str(block) for block in order], [[i for i, number in enumerate(found) if number == b] for b in order]


def task_spread(router: RouterLoad) -> np.ndarray:
    """``[L]`` how differently a layer routes the tasks, in percent of the gate.

    Mean total variation distance between each task's load and the mean over tasks: 0 when all tasks share one routing,
    the share of gate that moves between experts otherwise.
    """
    centre = router.load.mean(axis=0, keepdims=True)
    return 100 * 0.5 * np.abs(router.load - centre).sum(axis=2).mean(axis=0)


def router_load_figure(router: RouterLoad) -> Drawing:
    """Heat map of the mean gate (%) per expert and task, coloured around the uniform share."""
    load = mean_over_layers(router)
    tasks, experts = load.shape
    head = f"Share of the gate per expert (%), mean of {len(router.layers)} layers; uniform: {100 / experts:.1f}"
    drawing = Drawing(WIDTH, 52 + 32 * tasks, head, f"Rows: {tasks} tasks; columns: {experts} experts.")
    drawing.heading(0, 12, head)
    labels = [f"expert {e + 1}" if experts <= 8 else str(e + 1) for e in range(experts)]
    _balance(drawing, (110, 50), 32, load, list(router.titles), labels)
    return drawing


def router_layers_figure(router: RouterLoad) -> Drawing:
    """Upper: mean gate per expert and transformer block over all tasks. Lower: how much routing depends on the task."""
    labels, groups = blocks(router.layers)
    mean = 100 * router.load.mean(axis=0)
    load = np.array([mean[group].mean(axis=0) for group in groups]).T
    spread = np.array([task_spread(router)[group].mean() for group in groups])
    experts, lower = len(load), 28 + 20 * len(load) + 34
    deviation = np.abs(load - 100 / experts).max()
    head = f"Share of the gate per layer (%; blue above uniform, orange below, at most ±{deviation:.1f} points)"
    drawing = Drawing(WIDTH, lower + 140, head, f"Rows: {experts} experts; columns: {len(labels)} layers.")
    drawing.heading(0, 12, head)
    _balance(drawing, (64, 28), 20, load, [f"expert {e + 1}" for e in range(experts)], [])
    drawing.heading(0, lower - 14, "How differently the tasks are routed in this layer (% of the gate)")
    top = max(1.15 * float(spread.max()), 1e-3)
    panel = Panel(drawing, 64, lower, WIDTH - 64, 104, (0, len(labels)), (0, top))
    panel.y_values(round_values(0, top, 3))
    every = 1 + len(labels) // 40
    panel.x_values(np.arange(0, len(labels), every) + 0.5, labels[::every])
    for at, value in enumerate(spread):
        panel.bar((at + 0.15, at + 0.85), (0, value), PURPLE)
    drawing.add(Text(panel.left + panel.width / 2, lower + 131, "layer", color=MUTED))
    return drawing


def _balance(drawing: Drawing, corner: tuple[float, float], height: float, load: np.ndarray, rows: list[str],
             columns: list[str]) -> None:  # fmt: skip
    """Cells of ``load`` [rows, columns] in percent, the colour symmetric around the mean share."""
    centre = float(load.mean())
    span = max(SMALLEST_SPAN, float(np.abs(load - centre).max()))
    heat_map(drawing, corner, height, load, rows, columns, lambda share: (
        BLUE if share > centre else ORANGE, STRONGEST * abs(share - centre) / span))  # fmt: skip
