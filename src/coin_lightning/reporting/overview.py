"""Several runs side by side: mean and spread over seeds per method, as figure and as table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from coin_lightning.errors import RunError
from coin_lightning.reporting.figures import grid_shape
from coin_lightning.reporting.glossary import explain, ordered
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.style import CYCLE, INK, MUTED, WIDTH, heading, new_figure, tidy


@dataclass(frozen=True)
class MethodGroup:
    """Runs that differ only in their seed."""

    label: str
    runs: tuple[RunMatrix, ...]

    @property
    def scores(self) -> np.ndarray:
        """``[S, T + 1, T]`` scores of all seeds."""
        return np.stack([run.scores for run in self.runs])

    @property
    def seen_mean(self) -> np.ndarray:
        """``[S, T + 1]`` mean score over the tasks trained so far; NaN for row 0 and where a cell is missing."""
        scores = self.scores
        curve = np.full(scores.shape[:2], np.nan)
        for row in range(1, scores.shape[1]):
            curve[:, row] = scores[:, row, :row].mean(axis=1)
        return curve

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


def group_by_method(runs: Sequence[RunMatrix]) -> list[MethodGroup]:
    """Runs that differ only in their seed together, in order of first appearance.

    Runs of one method with another backbone, experiment or protocol field (rank, learning rate, ...) stay apart, so
    that a sweep is never averaged as if it were seeds. The label is the method and whatever tells the groups apart.

    Raises:
        RunError: two runs of a group have one seed.
    """
    found: dict[tuple[tuple[str, str], ...], list[RunMatrix]] = {}
    for run in runs:
        found.setdefault(tuple(_identity(run).items()), []).append(run)
    for members in found.values():
        seeds = [run.seed for run in members]
        if len(set(seeds)) < len(seeds):
            raise RunError(f"{members[0].experiment}: seeds {seeds} of equal runs; name each run once.")
    keys = [dict(key) for key in found]
    return [MethodGroup(_label(key, keys), tuple(members)) for key, members in zip(keys, found.values(), strict=True)]


def _identity(run: RunMatrix) -> dict[str, str]:
    names = {"method": run.method_title, "backbone": run.backbone, "experiment": run.experiment}
    return names | {name: str(value) for name, value in run.protocol.items()}


def forgetting_overview(runs: Sequence[RunMatrix]) -> Figure:
    """All forgetting curves of several runs: a panel per task, and one for the mean over the tasks seen.

    Lines are means over seeds, bands one standard deviation to each side, dots mark the task's own training, the dashed
    line is zero-shot.

    Raises:
        RunError: no runs, or runs with different tasks or orders.
    """
    tasks = _common_tasks(runs)
    groups = group_by_method(runs)
    rows, columns = grid_shape(len(tasks) + 1)
    figure = new_figure(WIDTH, 0.7 + 1.75 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    for index, ax in enumerate(axes[: len(tasks)]):
        _task_panel(ax, groups, index)
        heading(ax, runs[0].title(tasks[index]))
    _mean_panel(axes[len(tasks)], groups)
    for index, ax in enumerate(axes):
        ax.tick_params(labelbottom=index + columns > len(tasks))
    for ax in axes[len(tasks) + 1 :]:
        ax.remove()
    axes[0].set(xlim=(-0.4, len(tasks) + 0.4), ylim=(0, _ceiling(groups)), xticks=np.arange(len(tasks) + 1))
    figure.supxlabel("number of tasks trained so far", fontsize=8.5, color=MUTED)
    figure.supylabel("score (%)", fontsize=8.5, color=MUTED)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def comparison_table(runs: Sequence[RunMatrix]) -> Table:
    """Rich table: a row per metric that some run defines, a column per method, mean ± standard deviation over seeds."""
    groups = group_by_method(runs)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("metric")
    for group in groups:
        table.add_column(f"{group.label}\n{_seeds(group)}", justify="right", no_wrap=True)
    for key in metric_keys(runs):
        table.add_row(explain(key).label, *(metric_text(group, key) for group in groups))
    return table


def metric_keys(runs: Sequence[RunMatrix]) -> list[str]:
    """Metrics that at least one run defines, in the order of the glossary."""
    merged: dict[str, float | None] = {}
    for run in runs:
        merged |= {key: value for key, value in run.metrics.items() if value is not None}
    return [key for key, _, _ in ordered(merged)]


def metric_text(group: MethodGroup, key: str) -> str:
    """``33.8 ±1.2``; without the spread for one seed, an en dash when no run defines the metric."""
    mean, deviation, seeds = group.metric(key)
    text = explain(key).show(mean)
    return f"{text} ±{deviation:.1f}" if seeds > 1 else text


def _task_panel(ax: Axes, groups: Sequence[MethodGroup], task: int) -> None:
    zero_shot = float(np.mean([run.zero_shot[task] for group in groups for run in group.runs]))
    for group, color in zip(groups, _colors(groups), strict=True):
        mean, deviation = mean_and_spread(group.scores[:, :, task])
        _line(ax, mean, deviation, task + 1, color, f"{group.label} ({_seeds(group)})")
    ax.axhline(zero_shot, color=MUTED, linewidth=1, dashes=(4, 3), label="zero-shot")
    tidy(ax)


def _mean_panel(ax: Axes, groups: Sequence[MethodGroup]) -> None:
    for group, color in zip(groups, _colors(groups), strict=True):
        mean, deviation = mean_and_spread(group.seen_mean)
        _line(ax, mean, deviation, 1, color, group.label)
    tidy(ax)
    ax.set_facecolor("#f3f5f7")
    heading(ax, "Mean of the tasks seen")


def _line(ax: Axes, mean: np.ndarray, deviation: np.ndarray, start: int, color: str, label: str) -> None:
    steps = np.arange(start, len(mean))
    low, high = mean[start:] - deviation[start:], mean[start:] + deviation[start:]
    ax.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    ax.plot(steps, mean[start:], color=color, linewidth=1.9, marker="o", markersize=2.6, label=label)
    ax.plot(steps[:1], mean[start : start + 1], color=color, marker="o", markersize=6, linestyle="none")


def _colors(groups: Sequence[MethodGroup]) -> list[str]:
    return [CYCLE[index % len(CYCLE)] for index in range(len(groups))]


def _ceiling(groups: Sequence[MethodGroup]) -> float:
    best = max((float(np.nanmax(group.scores)) for group in groups if not np.isnan(group.scores).all()), default=100.0)
    return float(min(105, 20 * np.ceil((best + 5) / 20)))


def _seeds(group: MethodGroup) -> str:
    return f"{len(group.runs)} seed{'s' if len(group.runs) > 1 else ''}"


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
    parts = [_difference(key[name], [other.get(name, "") for other in rivals]) for name in differing]
    return ", ".join([key["method"], *parts])


def _difference(value: str, others: Sequence[str]) -> str:
    """Of a field that lists several things ("rank 8, alpha 16"), only those that some other group does not share."""
    items = value.split(", ")
    return ", ".join(item for item in items if any(item not in other.split(", ") for other in others)) or value
