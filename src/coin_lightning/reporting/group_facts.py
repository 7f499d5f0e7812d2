"""What a comparison says of groups beside scores: order sensitivity, routing, cost, and in what they differ."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from coin_lightning.reporting import names
from coin_lightning.reporting.html import machine_class
from coin_lightning.reporting.overview import MethodGroup, identity
from coin_lightning.reporting.paper_tables import Cell, PaperTable, cell, label, plain
from coin_lightning.reporting.router_figures import task_spread
from coin_lightning.reporting.run_artifacts import RouterLoad, RunArtifacts

COST: dict[str, tuple[str, Callable[[float], str]]] = {
    "training": ("train_seconds", names.duration),
    "evaluation": ("evaluation_seconds", names.duration),
    "trainable parameters": ("trainable_parameters", names.count),
    "checkpoint": ("checkpoint_bytes", names.bytes_size),
    "peak memory": ("peak_memory_bytes", names.bytes_size),
}
"""Head of a column -> field of a matrix's `cost`, and how it is shown."""


@dataclass(frozen=True)
class CostLine:
    """What a group took, mean over its runs, as text by head of column; and where they ran."""

    label: str
    cells: dict[str, str]
    machine: str


def cost_lines(groups: Sequence[MethodGroup]) -> list[CostLine]:
    """A line per group; a dash for what no run recorded.

    Raises:
        RunError: an `environment.json` is garbled.
    """
    lines = []
    for group in groups:
        cells = {}
        for head, (key, show) in COST.items():
            known = [float(run.cost[key]) for run in group.runs if run.cost.get(key) is not None]
            cells[head] = show(float(np.mean(known))) if known else names.MISSING
        folders = [RunArtifacts.of(run).environment for run in group.runs if run.folder is not None]
        machines = dict.fromkeys(filter(None, map(machine_class, folders)))
        lines.append(CostLine(label(group), cells, "; ".join(machines) or names.MISSING))
    return lines


@dataclass(frozen=True)
class RouterLine:
    """How a group's router shares its weight at the end, mean over its runs.

    Attributes:
        load: mean of the runs' loads, for a figure.
        effective: exp of the entropy of the mean gate: how many experts would share it evenly.
        spread: mean over layers of `task_spread`, percent of the gate that depends on the task.
    """

    label: str
    experts: int
    effective: float
    spread: float
    load: RouterLoad


def router_lines(groups: Sequence[MethodGroup]) -> list[RouterLine]:
    """A line per group; groups without a router are left out, and runs whose router has other layers, experts or tasks
    than that of the first.

    Raises:
        RunError: a `router.json` is garbled.
    """
    lines = []
    for group in groups:
        found = [RunArtifacts.of(run).router for run in group.runs if run.folder is not None]
        loads = [load for load in found if load is not None]
        same = [load for load in loads if (load.layers, set(load.tasks)) == (loads[0].layers, set(loads[0].tasks))]
        same = [load for load in same if load.load.shape == loads[0].load.shape]
        if same:
            mean = replace(same[0], load=np.mean([_in_order(load, same[0].tasks) for load in same], axis=0))
            gates = mean.load.mean(axis=0)  # [L, E] over tasks
            entropy = -(gates * np.log(np.maximum(gates, 1e-12))).sum(axis=1)
            spread = float(np.mean([task_spread(load).mean() for load in same]))
            lines.append(RouterLine(label(group), gates.shape[1], float(np.exp(entropy).mean()), spread, mean))
    return lines


def _in_order(load: RouterLoad, tasks: Sequence[str]) -> np.ndarray:
    return load.load[[load.tasks.index(task) for task in tasks]]


def order_table(groups: Sequence[MethodGroup], orders: Sequence[tuple[str, ...]]) -> PaperTable | None:
    """Final accuracy by order of tasks, mean and deviation over seeds, and how far the orders' means lie apart; None
    where no group has two orders."""
    rows = []
    for group in groups:
        by_order = [[run.metrics.get("acc") for run in group.runs if run.tasks == order] for order in orders]
        known = [[float(acc) for acc in found if acc is not None] for found in by_order]
        cells = [cell(np.array(found)) if found else Cell(np.nan, np.nan, 0, names.MISSING) for found in known]
        means = np.array([np.mean(found) for found in known if found])
        if len(means) > 1:
            span, deviation = float(np.ptp(means)), float(means.std(ddof=1))
            apart = [Cell(value, np.nan, len(means), plain(value)) for value in (span, deviation)]
            rows.append((label(group), [*cells, *apart]))
    if not rows:
        return None
    heads = [f"order {number}" for number in range(1, len(orders) + 1)]
    title = "Final accuracy by order of tasks"
    return PaperTable(title, ["method", *heads, "largest minus smallest", "standard deviation over orders"], rows)


def kept_apart(groups: Sequence[MethodGroup], allowed: Collection[str] = ()) -> list[str]:
    """Lines that say in what groups of one method differ, with the values: why they are not averaged."""
    lines = []
    for method in dict.fromkeys(group.runs[0].method_title for group in groups):
        fields = [identity(group.runs[0], allowed) for group in groups if group.runs[0].method_title == method]
        for name in dict.fromkeys(key for each in fields for key in each):
            values = list(dict.fromkeys(each.get(name, "not recorded") for each in fields))
            if len(values) > 1:
                lines.append(f"{method}: {name.replace('_', ' ')} {' | '.join(values)} (--allow {name})")
    return lines


def averaged_over(groups: Sequence[MethodGroup], allowed: Collection[str]) -> list[str]:
    """Lines that say over which allowed differences groups are averaged all the same."""
    lines = []
    for group in groups:
        fields = [identity(run) for run in group.runs]
        for name in (name for name in allowed if name in fields[0]):
            values = list(dict.fromkeys(each.get(name, "not recorded") for each in fields))
            if len(values) > 1:
                lines.append(f"{group.label} is averaged over runs that differ in {name}: {' | '.join(values)}.")
    return lines
