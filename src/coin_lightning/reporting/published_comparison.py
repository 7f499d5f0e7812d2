"""Runs beside the published row that their experiment reproduces: every number known, the difference, and why they may
differ."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from coin_lightning.reporting.glossary import MetricInfo, explain
from coin_lightning.reporting.matrix_sections import Metrics
from coin_lightning.reporting.overview import MethodGroup
from coin_lightning.reporting.published import (
    UNKNOWN,
    PublishedRow,
    comparable,
    evidence,
    protocol_differences,
    published_row,
    published_rows,
    same_run,
)
from coin_lightning.reporting.run_matrix import RunMatrix

MARKS = {"unverified": "from memory", "computed": "computed"}


@dataclass(frozen=True)
class Line:
    """One number of both sides; None or NaN where a side does not have it. `mark` warns of weak evidence."""

    key: str
    info: MetricInfo
    ours: float | None
    published: float
    mark: str

    @property
    def difference(self) -> float | None:
        """Ours minus published, in points."""
        return None if self.ours is None or math.isnan(self.ours) else self.ours - self.published


@dataclass(frozen=True)
class Comparison:
    """A run and a row of a table.

    Attributes:
        row: the published row.
        judge: the judge whose scores of ours are compared; None for the rules' scores.
        metrics: lines of the sequence metrics. immediate, final: lines by task.
        matrix: by row of the published matrix: task trained, and a line per evaluated task (None: no value known).
        differences: protocol fields in which the two differ, or may.
        evidence: how far they can be compared, see `evidence`.
        ours: who is compared, where it is a mean over runs.
    """

    row: PublishedRow
    judge: str | None
    metrics: tuple[Line, ...]
    immediate: tuple[Line, ...]
    final: tuple[Line, ...]
    matrix: tuple[tuple[str, tuple[Line | None, ...]], ...]
    differences: tuple[str, ...]
    evidence: str
    ours: str = ""


def comparisons(matrix: RunMatrix, seeds: str = "") -> list[Comparison]:
    """The run beside its published row, and its judges' scores beside what the papers' judges said of the same run.

    Args:
        matrix: of a run, or the mean of several.
        seeds: of the mean.

    Raises:
        DataError: `published` of the run names no row, or a table is garbled.
    """
    if matrix.published is None:
        return []
    own = published_row(matrix.published)
    found = [] if own.protocol.get("judge") else [_compare(matrix, own, None, seeds)]
    judged = [own, *same_run(matrix.published, published_rows())]
    for row in (row for row in judged if row.protocol.get("judge")):
        found += [_compare(_by_judge(matrix, name), row, name, seeds) for name in matrix.judges]
    return found


def _by_judge(matrix: RunMatrix, name: str) -> RunMatrix:
    """The run with the scores of a judge, whom its protocol then names in place of the run's own."""
    variant = matrix.judges[name].protocol.get("variant")
    return replace(
        matrix.judged(name), protocol={**matrix.protocol, "judge": name, "judge_variant": variant or UNKNOWN}
    )


def group_comparisons(groups: Sequence[MethodGroup]) -> list[Comparison]:
    """The mean of each group beside its published row, those of several orders apart.

    Raises:
        DataError: as `comparisons`.
    """
    found = []
    for group in groups:
        alike: dict[tuple[str | None, tuple[str, ...]], list[RunMatrix]] = {}
        for run in group.runs:
            alike.setdefault((run.published, run.tasks), []).append(run)
        for runs in alike.values():
            own, seeds = MethodGroup(group.label, tuple(runs)), ", ".join(str(run.seed) for run in runs)
            found += [replace(each, ours=f"{own.label} ({own.seeds})") for each in comparisons(_mean(own), seeds)]
    return found


def _mean(group: MethodGroup) -> RunMatrix:
    """A run with the mean scores and metrics of a group in one order, and of the judges that all its runs have."""
    first = group.runs[0]
    judges = {
        name: replace(
            judge,
            scores=np.mean([run.judges[name].scores for run in group.runs], axis=0),
            metrics=_mean_metrics([run.judges[name].metrics for run in group.runs]),
        )
        for name, judge in first.judges.items()
        if all(name in run.judges for run in group.runs)
    }
    metrics = _mean_metrics([run.metrics for run in group.runs])
    return replace(first, scores=group.scores.mean(axis=0), metrics=metrics, judges=judges)


def _mean_metrics(several: Sequence[Metrics]) -> Metrics:
    """None where one of them lacks it."""
    means: Metrics = {}
    for key in dict.fromkeys(key for each in several for key in each):
        values = [value for each in several if (value := each.get(key)) is not None]
        means[key] = float(np.mean(values)) if len(values) == len(several) else None
    return means


def _compare(matrix: RunMatrix, row: PublishedRow, judge: str | None, seeds: str) -> Comparison:
    immediate = dict(zip(matrix.tasks, map(float, matrix.immediate), strict=True))
    final = dict(zip(matrix.tasks, map(float, matrix.final), strict=True)) if matrix.is_complete else {}
    ours = comparable(matrix, seeds)
    differences = protocol_differences(ours, row.protocol)
    return Comparison(
        row=row,
        judge=judge,
        metrics=tuple(_lines(row, "metrics", matrix.metrics, row.metrics)),
        immediate=tuple(_lines(row, "immediate", immediate, row.immediate)),
        final=tuple(_lines(row, "final", final, row.final)),
        matrix=tuple(_matrix_lines(matrix, row)),
        differences=tuple(differences),
        evidence=evidence(ours, differences),
    )


def _lines(
    row: PublishedRow, part: str, ours: Mapping[str, float | None], published: Mapping[str, float | None]
) -> Iterable[Line]:
    for key, value in published.items():
        if value is not None:
            yield Line(key, explain(key), ours.get(key), value, _mark(row, f"{part}.{key}"))


def _matrix_lines(matrix: RunMatrix, row: PublishedRow) -> Iterable[tuple[str, tuple[Line | None, ...]]]:
    if row.matrix is None or row.tasks != matrix.tasks:  # in another order a cell means something else
        return
    for index, values in enumerate(row.matrix):
        lines = [
            None if value is None else Line(task, explain(task), _cell(matrix, row.tasks[index], task), value,
                                            _mark(row, f"matrix.{index}.{task}"))
            for task, value in zip(row.tasks, values, strict=True)
        ]  # fmt: skip
        yield row.tasks[index], tuple(lines)


def _cell(matrix: RunMatrix, after: str, task: str) -> float | None:
    """Our score in that cell; None where we have none."""
    if after not in matrix.rows or task not in matrix.tasks:
        return None
    return float(matrix.scores[matrix.rows.index(after), matrix.tasks.index(task)])


def _mark(row: PublishedRow, place: str) -> str:
    places = {"unverified": row.unverified, "computed": row.computed}
    return next((word for name, word in MARKS.items() if place in places[name]), "")
