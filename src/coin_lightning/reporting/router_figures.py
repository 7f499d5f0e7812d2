"""Where the router sends tokens: experts against tasks, and experts against layers."""

import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from coin_lightning.reporting.run_artifacts import RouterLoad
from coin_lightning.reporting.style import BALANCE_MAP, MUTED, PURPLE, WIDTH, heading, new_figure, text_on, tidy

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


def router_load_figure(router: RouterLoad) -> Figure:
    """Heat map of the mean gate (%) per expert and task, coloured around the uniform share."""
    load = mean_over_layers(router)
    tasks, experts = load.shape
    figure = new_figure(WIDTH, 0.9 + 0.36 * tasks)
    ax = figure.add_subplot()
    _heat(ax, load, values=experts <= 16)
    ax.set_xticks(np.arange(experts) + 0.5, [f"expert {e + 1}" if experts <= 8 else str(e + 1) for e in range(experts)])
    ax.set_yticks(np.arange(tasks) + 0.5, router.titles)
    heading(ax, f"Share of the gate per expert (%), mean of {len(router.layers)} layers; uniform: {100 / experts:.1f}")
    return figure


def router_layers_figure(router: RouterLoad) -> Figure:
    """Upper: mean gate per expert and transformer block over all tasks. Lower: how much routing depends on the task."""
    labels, groups = blocks(router.layers)
    mean = 100 * router.load.mean(axis=0)
    load = np.array([mean[group].mean(axis=0) for group in groups]).T
    spread = np.array([task_spread(router)[group].mean() for group in groups])
    figure = new_figure(WIDTH, 2.5 + 0.2 * load.shape[0])
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[0.2 * load.shape[0] + 0.3, 0.9])
    _heat(upper, load, values=False)
    upper.set_yticks(np.arange(load.shape[0]) + 0.5, [str(e + 1) for e in range(load.shape[0])])
    upper.set_ylabel("expert", fontsize=8.5, color=MUTED)
    deviation = np.abs(load - 100 / load.shape[0]).max()
    heading(upper, f"Share of the gate per layer (blue above uniform, orange below, at most ±{deviation:.1f} points)")
    lower.bar(np.arange(len(labels)) + 0.5, spread, 0.7, color=PURPLE)
    lower.set_ylabel("% of gate", fontsize=8.5, color=MUTED)
    tidy(lower)
    heading(lower, "How differently the tasks are routed in this layer")
    every = max(1, len(labels) // 16)
    lower.set_xticks(np.arange(0, len(labels), every) + 0.5, labels[::every])
    lower.set_xlabel("layer", fontsize=8.5, color=MUTED)
    return figure


def _heat(ax: Axes, load: np.ndarray, values: bool) -> None:
    """Cells of ``load`` [rows, columns] in percent, colour symmetric around the mean share."""
    centre = float(load.mean())
    span = max(SMALLEST_SPAN, float(np.abs(load - centre).max()))
    for row, column in np.ndindex(load.shape):
        color = BALANCE_MAP(0.5 + 0.5 * (load[row, column] - centre) / span)
        ax.add_patch(Rectangle((column + 0.02, row + 0.03), 0.96, 0.94, facecolor=color, linewidth=0))
        if values:
            ax.text(column + 0.5, row + 0.52, f"{load[row, column]:.1f}", ha="center", va="center", fontsize=8,
                    color=text_on(tuple(color)))  # fmt: skip
    ax.set(xlim=(0, load.shape[1]), ylim=(load.shape[0], 0))
    tidy(ax, grid=None)
    ax.tick_params(length=0)
