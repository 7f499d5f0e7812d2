"""Flips of single answers between experiences: of one run, and as tables of several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from coin_lightning.metrics.flips import Flips
from coin_lightning.reporting.overview import MethodGroup
from coin_lightning.reporting.paper_tables import Cell, PaperTable, cell, label
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.sample_scores import SampleReader

Of = Callable[[Flips], float]
WAYS: dict[str, Of] = {"Right → wrong": lambda each: each.lost, "Wrong → right": lambda each: each.gained}
BEYOND: tuple[Of, Of] = (lambda each: each.lost_beyond_chance, lambda each: each.gained_beyond_chance)


@dataclass(frozen=True)
class RunFlips:
    """Flips of one run on tasks that it has learned.

    Attributes:
        steps: (row, column) -> from the row before to this row.
        whole: column -> from right after the task's own training to the last row.
    """

    steps: dict[tuple[int, int], Flips]
    whole: dict[int, Flips]

    def steps_of(self, column: int, rows: int, of: Of) -> np.ndarray:
        """[rows - column - 1] flips of one task by row, from the second after it was learned; NaN for a missing one."""
        steps = [self.steps.get((row, column)) for row in range(column + 2, rows + 1)]
        return np.array([np.nan if each is None else of(each) for each in steps])

    def step_means(self, rows: int, of: Of) -> np.ndarray:
        """[rows - 1] by row from 2 on, the mean over the tasks learned before; NaN where one is missing."""
        means = []
        for row in range(2, rows + 1):
            found = [of(self.steps[row, column]) for column in range(row - 1) if (row, column) in self.steps]
            means.append(np.mean(found) if len(found) == row - 1 else np.nan)
        return np.array(means)


def run_flips(run: RunMatrix, read: SampleReader) -> RunFlips:
    """All flips of a run, finished or not; none of one that learns no sequence.

    Raises:
        RunError, DataError: as `SampleReader`.
    """
    steps, whole = {}, {}
    if run.training == "sequence":
        for column in range(max(run.last - 1, 0)):
            for row in range(column + 2, run.last + 1):
                if (found := read.flips(run, run.tasks[column], row - 1, row)) is not None:
                    steps[row, column] = found
            if (found := read.flips(run, run.tasks[column], column + 1, run.last)) is not None:
                whole[column] = found
    return RunFlips(steps, whole)


def flip_tables(groups: Sequence[MethodGroup], read: SampleReader) -> list[PaperTable]:
    """Flips by task from its own training to the end, minus chance for choices, and by experience; mean over seeds.

    Groups that have an unfinished run are left out.

    Args:
        groups: runs of the same tasks in the same order.
        read: of the records.

    Raises:
        RunError, DataError: as `SampleReader`.
    """
    first = groups[0].runs[0]
    titles = [first.title(task) for task in first.tasks]
    done = [group for group in groups if all(run.is_complete for run in group.runs)]
    found = [(label(group), [run_flips(run, read) for run in group.runs]) for group in done]
    if len(titles) < 2 or not any(run.whole for _, runs in found for run in runs):
        return []
    columns = range(len(titles) - 1)
    choices = [
        column for column in columns
        if any(column in run.whole and run.whole[column].chance is not None for _, runs in found for run in runs)
    ]  # fmt: skip
    since, percent = "since its own training, at the end", "% of its test samples"
    tables = [
        _table(f"{name} {since} ({percent})", titles[:-1], found, partial(_whole, columns=columns, of=of))
        for name, of in WAYS.items()
    ]
    if choices:
        heads = [f"{titles[column]}: {name.lower()}" for column in choices for name in WAYS]
        rows = [(name, [each for column in choices for each in _beyond(runs, column)]) for name, runs in found]
        tables.append(PaperTable(f"Flips {since}, minus chance ({percent})", ["method", *heads], rows))
    after, at = titles[1:], "at each experience (% of the test samples of earlier tasks)"
    tables += [
        _table(f"{name} {at}", after, found, partial(RunFlips.step_means, rows=len(titles), of=of))
        for name, of in WAYS.items()
    ]
    return tables + [
        _table(f"{titles[column]}: {name.lower()} at each experience, minus chance ({percent})", after[column:], found,
               partial(RunFlips.steps_of, column=column, rows=len(titles), of=of))
        for column in choices for name, of in zip(WAYS, BEYOND, strict=True)
    ]  # fmt: skip


def _table(
    title: str, heads: list[str], found: list[tuple[str, list[RunFlips]]], of: Callable[[RunFlips], np.ndarray]
) -> PaperTable:
    rows = []
    for name, runs in found:
        values = np.stack([of(run) for run in runs])
        rows.append((name, [cell(column) for column in np.column_stack([values, values.mean(axis=1)]).T]))
    return PaperTable(title, ["method", *heads, "Mean"], rows)


def _whole(run: RunFlips, columns: Sequence[int], of: Of) -> np.ndarray:
    return np.array([of(run.whole[column]) if column in run.whole else np.nan for column in columns])


def _beyond(runs: list[RunFlips], column: int) -> list[Cell]:
    return [cell(np.array([_whole(run, [column], of)[0] for run in runs])) for of in BEYOND]
