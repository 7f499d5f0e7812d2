"""Several runs side by side: mean and spread over seeds per method, as figure and as table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.table import Table

from coin_lightning.errors import RunError
from coin_lightning.reporting.drawing import CYCLE, MUTED, Drawing, Shape
from coin_lightning.reporting.figures import score_ceiling, small_multiples
from coin_lightning.reporting.glossary import explain, ordered
from coin_lightning.reporting.panel import Panel
from coin_lightning.reporting.run_matrix import RunMatrix

HEADLINES = ("acc", "learning_accuracy", "bwt", "forgetting")
"""Metrics of which a list of many runs has columns."""
MOST_CURVES = len(CYCLE)
"""Groups whose curves one figure tells apart by colour; more get several figures."""
MOST_SHOWN = 4 * MOST_CURVES
"""Groups that figures and the terminal show; tables on pages and in files have all."""
PART_OF = {"projector_lr": "learning_rates", "global_batch": "batch"}
"""Protocol fields that another one says again among others; a label has it once."""
COUNTS = ("global_batch", "batch", "epochs", "fraction")
"""Protocol fields of numbers, whose values by task do not name them."""


@dataclass(frozen=True)
class MethodGroup:
    """Runs that differ only in seed and order of tasks."""

    label: str
    runs: tuple[RunMatrix, ...]

    @property
    def scores(self) -> np.ndarray:
        """``[S, T + 1, T]`` scores of all seeds; only of runs in one order."""
        return np.stack([run.scores for run in self.runs])

    @property
    def seeds(self) -> str:
        """How many runs there are, as ``3 seeds``; ``6 runs`` where they have several orders, or seeds unknown."""
        by_seed = len({run.tasks for run in self.runs}) == 1 and all(run.seed is not None for run in self.runs)
        return f"{len(self.runs)} {'seed' if by_seed else 'run'}{'s' if len(self.runs) > 1 else ''}"

    def metric(self, key: str) -> tuple[float, float, int]:
        """(mean, standard deviation with n - 1, seeds that have it); NaN mean without any, NaN deviation for one."""
        found = [value for run in self.runs if (value := run.metrics.get(key)) is not None]
        mean, deviation = mean_and_spread(np.array(found)[:, None]) if found else (np.array([np.nan]),) * 2
        return float(mean[0]), float(deviation[0]), len(found)


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (n - 1) over the first axis; the deviation of a single value is NaN."""
    if len(values) < 2:
        return values.mean(axis=0), np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), values.std(axis=0, ddof=1)


def group_by_method(runs: Sequence[RunMatrix], allowed: Collection[str] = ()) -> list[MethodGroup]:
    """As `alike`, and each run is there once.

    Raises:
        RunError: two runs of a group have one seed and one order.
    """
    groups = alike(runs, allowed)
    for group in groups:
        seeds = [(run.seed, run.tasks) for run in group.runs]
        if len(set(seeds)) < len(seeds):
            raise RunError(
                f"{group.runs[0].experiment}: seeds {[seed for seed, _ in seeds]} of equal runs; name each run once."
            )
    return groups


def alike(runs: Sequence[RunMatrix], allowed: Collection[str] = ()) -> list[MethodGroup]:
    """Runs that differ only in seed and order of tasks together, in order of first appearance.

    Runs of one method with another backbone, experiment or protocol field (rank, learning rate, ...) stay apart, so
    that a sweep is never averaged as if it were seeds. The label is the method and whatever tells the groups apart.

    Args:
        runs: of the same tasks.
        allowed: fields in which the runs of a group may differ, too.
    """
    found: dict[tuple[tuple[str, str], ...], list[RunMatrix]] = {}
    for run in runs:
        found.setdefault(tuple(identity(run, allowed).items()), []).append(run)
    keys = [dict(key) for key in found]
    return [MethodGroup(_label(key, keys), tuple(members)) for key, members in zip(keys, found.values(), strict=True)]


def in_order(groups: Sequence[MethodGroup], tasks: tuple[str, ...]) -> list[MethodGroup]:
    """The groups with their runs in one order of tasks, without those that have none."""
    found = [MethodGroup(group.label, tuple(run for run in group.runs if run.tasks == tasks)) for group in groups]
    return [group for group in found if group.runs]


def best(groups: Sequence[MethodGroup], always: str | None = None, most: int = MOST_SHOWN) -> list[MethodGroup]:
    """All groups; where there are more than `most`, those with the highest final accuracy, the highest first, and the
    one with the label `always` among them."""
    if len(groups) <= most:
        return list(groups)
    ranked = sorted(groups, key=lambda group: (group.label != always, -np.nan_to_num(group.metric("acc")[0], nan=-1)))
    chosen = ranked[:most]
    return sorted(chosen, key=lambda group: -np.nan_to_num(group.metric("acc")[0], nan=-1))


def parts(groups: Sequence[MethodGroup]) -> list[Sequence[MethodGroup]]:
    """Groups in parts that one figure can show."""
    return [groups[start : start + MOST_CURVES] for start in range(0, len(groups), MOST_CURVES)]


def identity(run: RunMatrix, allowed: Collection[str] = ()) -> dict[str, str]:
    """What runs must share to be averaged, by field: all but seed, order, and what is `allowed` to differ."""
    names = {"method": run.method_title, "backbone": run.backbone, "experiment": run.experiment}
    fields = names | {"training": run.training} | {name: str(value) for name, value in run.protocol.items()}
    return {name: value for name, value in fields.items() if name not in {"order", *allowed}}


def forgetting_overview(groups: Sequence[MethodGroup]) -> Drawing:
    """All forgetting curves of several runs: a panel per task, and one for the mean over the tasks seen.

    Lines are means over seeds, bands one standard deviation to each side, dots mark the task's own training, the dashed
    line is zero-shot: one for all where they agree, else one of each group in its colour.

    Raises:
        RunError: no runs, or runs with different tasks or orders.
    """
    runs = [run for group in groups for run in group.runs]
    tasks = _common_tasks(runs)
    colors = [CYCLE[index % len(CYCLE)] for index in range(len(groups))]
    heads = [*(runs[0].title(task) for task in tasks), "Mean of the tasks seen"]
    ceiling = score_ceiling(np.stack([run.scores for run in runs]))
    keys = [(f"{group.label} ({group.seeds})", color, 10.0) for group, color in zip(groups, colors, strict=True)]
    keys.append(("zero-shot", MUTED, 0))
    drawing, panels = small_multiples("Forgetting curves per method", heads, len(tasks), ceiling, keys)
    for group, color in zip(groups, colors, strict=True):
        for task, panel in enumerate(panels[:-1]):
            _line(panel, group.scores[:, :, task], task + 1, color)
        _line(panels[-1], np.stack([run.seen_mean for run in group.runs]), 1, color)
    for task, panel in enumerate(panels[:-1]):
        _zero_shot(panel, [[run.zero_shot[task] for run in group.runs] for group in groups], colors)
    return drawing


def _zero_shot(panel: Panel, by_group: Sequence[Sequence[float]], colors: Sequence[str]) -> None:
    """A mean over models that begin with unlike scores would be no model's score."""
    known = [[score for score in scores if not np.isnan(score)] for scores in by_group]
    every = [score for scores in known for score in scores]
    if every and np.allclose(every, every[0]):
        panel.level(every[0])
        return
    for scores, color in zip(known, colors, strict=True):
        if scores:
            panel.level(float(np.mean(scores)), color)


def comparison_table(groups: Sequence[MethodGroup]) -> Table:
    """Rich table: a row per metric that some run defines, a column per method, mean ± standard deviation over seeds;
    where the methods are more than colours, a row for each of the `best` of them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    keys = metric_keys(groups)
    if len(groups) <= MOST_CURVES:
        table.add_column("metric")
        for group in groups:
            table.add_column(f"{group.label}\n{group.seeds}", justify="right", no_wrap=True)
        for key in keys:
            table.add_row(explain(key).label, *(metric_text(group, key) for group in groups))
        return table
    shown = best(groups)
    keys = [key for key in HEADLINES if key in keys]
    table.add_column("method")
    for key in keys:
        table.add_column(explain(key).label, justify="right")
    for group in shown:
        table.add_row(f"{group.label} ({group.seeds})", *(metric_text(group, key) for key in keys))
    if len(shown) < len(groups):
        table.caption = f"the {len(shown)} of {len(groups)} with the highest final accuracy; the files have all"
    return table


def metric_keys(groups: Sequence[MethodGroup]) -> list[str]:
    """Metrics that at least one run defines, in the order of the glossary."""
    merged: dict[str, float | None] = {}
    for run in (run for group in groups for run in group.runs):
        merged |= {key: value for key, value in run.metrics.items() if value is not None}
    return [key for key, _, _ in ordered(merged)]


def metric_text(group: MethodGroup, key: str) -> str:
    """``33.8 ±1.2``; without the spread for one run, an en dash when no run defines the metric, and ``(2 of 3)`` behind
    it when only some do."""
    mean, deviation, known = group.metric(key)
    info = explain(key)
    spread = f" ±{deviation:.{info.decimals}f}" if known > 1 else ""
    return info.show(mean) + spread + share(known, len(group.runs))


def share(known: int, runs: int) -> str:
    """``(2 of 3)`` with a space before it where not all runs of a group have a value; nothing where none has."""
    return f" ({known} of {runs})" if 0 < known < runs else ""


def _line(panel: Panel, values: np.ndarray, start: int, color: str) -> None:
    """Mean and spread over seeds of ``values`` [S, T + 1], from the step ``start`` on."""
    mean, deviation = mean_and_spread(values)
    low, high = np.maximum(mean - deviation, 0), mean + deviation  # no score is below zero
    known = [step for step in range(start, len(mean)) if not np.isnan(low[step])]
    band = [panel.at(step, high[step]) for step in known] + [panel.at(step, low[step]) for step in reversed(known)]
    if len(known) > 1:
        panel.drawing.add(Shape(band, color, opacity=0.18))
    panel.curve(range(start, len(mean)), mean[start:], color, 1.9)
    panel.curve([start], mean[[start]], color, radius=3.8)


def _common_tasks(runs: Sequence[RunMatrix]) -> tuple[str, ...]:
    if not runs:
        raise RunError("No runs given; name at least one run folder.")
    for run in runs:
        if run.tasks != runs[0].tasks:
            raise RunError(
                f"{run.experiment} (seed {run.seed}) has tasks {', '.join(run.tasks)}, but {runs[0].experiment} has "
                f"{', '.join(runs[0].tasks)}; put only runs with one order into a figure."
            )
    return runs[0].tasks


def _label(key: dict[str, str], keys: Sequence[dict[str, str]]) -> str:
    """The method; where groups share it, also the fields in which they differ."""
    rivals = [other for other in keys if other["method"] == key["method"] and other is not key]
    differing = [name for name in key if any(other.get(name) != key[name] for other in rivals)]
    differing = [name for name in differing if PART_OF.get(name) not in differing]
    shown = [_difference(key[name], [other.get(name, "") for other in rivals]) for name in differing]
    named = [_named(name, value) for name, value in zip(differing, shown, strict=True)]
    return ", ".join([key["method"], *named])


def _named(field: str, value: str) -> str:
    """A bare number, yes or no says nothing without its field."""
    bare = field in COUNTS or value in ("True", "False", "None") or not any(sign.isalpha() for sign in value)
    return f"{field.replace('_', ' ')} {value}" if bare else value


def _difference(value: str, others: Sequence[str]) -> str:
    """Of a field that lists several things ("rank 8, alpha 16"), only those that some other group does not share."""
    items = value.split(", ")
    return ", ".join(item for item in items if any(item not in other.split(", ") for other in others)) or value
