"""A run beside the published row that its experiment reproduces: every number known, the difference, and why they may
differ."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coin_lightning.reporting.glossary import MetricInfo, explain
from coin_lightning.reporting.published import (
    PublishedRow,
    comparable,
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
    """

    row: PublishedRow
    judge: str | None
    metrics: tuple[Line, ...]
    immediate: tuple[Line, ...]
    final: tuple[Line, ...]
    matrix: tuple[tuple[str, tuple[Line | None, ...]], ...]
    differences: tuple[str, ...]


def comparisons(matrix: RunMatrix) -> list[Comparison]:
    """The run beside its published row, and its judges' scores beside what the papers' judges said of the same run.

    Raises:
        DataError: `published` of the run names no row, or a table is garbled.
    """
    if matrix.published is None:
        return []
    own = published_row(matrix.published)
    found = [] if own.protocol.get("judge") else [_compare(matrix, own, None)]
    judged = [own, *same_run(matrix.published, published_rows())]
    for row in (row for row in judged if row.protocol.get("judge")):
        found += [_compare(matrix.judged(name), row, name) for name in matrix.judges]
    return found


def _compare(matrix: RunMatrix, row: PublishedRow, judge: str | None) -> Comparison:
    immediate = dict(zip(matrix.tasks, map(float, matrix.immediate), strict=True))
    final = dict(zip(matrix.tasks, map(float, matrix.final), strict=True)) if matrix.is_complete else {}
    return Comparison(
        row=row,
        judge=judge,
        metrics=tuple(_lines(row, "metrics", matrix.metrics, row.metrics)),
        immediate=tuple(_lines(row, "immediate", immediate, row.immediate)),
        final=tuple(_lines(row, "final", final, row.final)),
        matrix=tuple(_matrix_lines(matrix, row)),
        differences=tuple(protocol_differences(comparable(matrix), row.protocol)),
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
