"""What a comparison says of groups beside scores: order sensitivity, routing, cost, and in what they differ."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coin_lightning.reporting import names
from coin_lightning.reporting.html import machine_class
from coin_lightning.reporting.overview import PART_OF, MethodGroup, identity
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


BySeed = dict[int | None, float | None]
"""A metric of the runs of one order, by seed."""
OF_THE_METHOD = ("method", "experiment", "adapter")
"""Fields in which methods differ by their nature, or by name."""
NOTHING = Cell(np.nan, np.nan, 0, names.MISSING)


@dataclass(frozen=True)
class CostLine:
    """What a group took, mean over its finished runs, as text by head of column; and where they ran."""

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
            known = [float(run.cost[key]) for run in group.runs if run.is_complete and run.cost.get(key) is not None]
            cells[head] = show(float(np.mean(known))) if known else names.MISSING
        folders = [RunArtifacts.of(run).environment for run in group.runs if run.folder is not None]
        machines = dict.fromkeys(filter(None, map(machine_class, folders)))
        lines.append(CostLine(label(group), cells, "; ".join(machines) or names.MISSING))
    return lines


@dataclass(frozen=True)
class RouterLine:
    """How a group's router shares its weight at the end, mean over its finished runs.

    Attributes:
        load: of the first run, for a figure: the number of an expert says nothing in another run. seed: that run's.
        effective: mean over runs and layers of exp of the entropy of the mean gate: how many experts would share it
            evenly.
        spread: mean over runs and layers of `task_spread`, percent of the gate that depends on the task.
    """

    label: str
    experts: int
    effective: float
    spread: float
    load: RouterLoad
    seed: int | None


def router_lines(groups: Sequence[MethodGroup]) -> list[RouterLine]:
    """A line per group; groups without a router are left out, and runs whose router has other layers, experts or tasks
    than that of the first.

    Raises:
        RunError: a `router.json` is garbled.
    """
    lines = []
    for group in groups:
        ended = [run for run in group.runs if run.folder is not None and run.is_complete]
        loads = [(run.seed, load) for run in ended if (load := RunArtifacts.of(run).router) is not None]
        if not loads:
            continue
        seed, first = loads[0]
        same = [load for _, load in loads if _shape(load) == _shape(first)]
        effective = float(np.mean([_effective(load) for load in same]))
        spread = float(np.mean([task_spread(load).mean() for load in same]))
        lines.append(RouterLine(label(group), first.load.shape[2], effective, spread, first, seed))
    return lines


def _shape(load: RouterLoad) -> tuple[object, ...]:
    return load.layers, set(load.tasks), load.load.shape


def _effective(load: RouterLoad) -> float:
    gates = load.load.mean(axis=0)  # [L, E] over tasks
    entropy = -(gates * np.log(np.maximum(gates, 1e-12))).sum(axis=1)
    return float(np.exp(entropy).mean())


def order_table(groups: Sequence[MethodGroup], orders: Sequence[tuple[str, ...]]) -> PaperTable | None:
    """Final accuracy by order of tasks, mean and deviation over seeds, and how far the orders' means lie apart, over
    those seeds that every order of the group has; None where no group has two orders."""
    rows = []
    for group in groups:
        by_order = [{run.seed: run.metrics.get("acc") for run in group.runs if run.tasks == order} for order in orders]
        if sum(map(bool, by_order)) > 1:
            rows.append((label(group), [*map(_over_seeds, by_order), *_apart([each for each in by_order if each])]))
    if not rows:
        return None
    heads = [f"order {number}" for number in range(1, len(orders) + 1)]
    title = "Final accuracy by order of tasks"
    return PaperTable(title, ["method", *heads, "largest minus smallest", "standard deviation over orders"], rows)


def _over_seeds(found: BySeed) -> Cell:
    return cell(np.array([np.nan if acc is None else acc for acc in found.values()])) if found else NOTHING


def _apart(by_order: Sequence[BySeed]) -> list[Cell]:
    """Span and deviation of the means of orders over the seeds that all of them have: a seed is no order."""
    seeds = [seed for seed in by_order[0] if all(found.get(seed) is not None for found in by_order)]
    if not seeds:
        return [NOTHING, NOTHING]
    means = np.array([np.mean([found[seed] for seed in seeds]) for found in by_order])
    values = float(np.ptp(means)), float(means.std(ddof=1))
    return [Cell(value, np.nan, len(seeds), plain(value)) for value in values]


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


def unlike(groups: Sequence[MethodGroup]) -> list[str]:
    """Lines that say in what groups of different methods differ beside the method and its adapter: what is seen between
    them may come from there."""
    listed = [(group.runs[0].method_title, identity(group.runs[0])) for group in groups]
    found = {}
    for name in dict.fromkeys(key for _, fields in listed for key in fields if key not in OF_THE_METHOD):
        values: dict[str, list[str]] = {}  # by value its methods
        for method, fields in listed:
            values.setdefault(fields.get(name, "not recorded"), []).append(method)
        by_method = [{value for value, methods in values.items() if own in methods} for own, _ in listed]
        if any(each != by_method[0] for each in by_method):
            found[name] = f"{name.replace('_', ' ')}: {with_owners(values)}"
    return [line for name, line in found.items() if PART_OF.get(name) not in found]


def with_owners(values: Mapping[str, Iterable[str]]) -> str:
    """Each value with the names of those that have it: `1 (LoRA); 5 (MoELoRA, EWC)`."""
    return "; ".join(f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in values.items())


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
