"""What the page of a run shows beside figures: matrices, judges, and all variants of the scorers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from coin_lightning.errors import DataError
from coin_lightning.evaluation.judges.base import PRINTED
from coin_lightning.evaluation.judges.summary import identity_text
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.side_by_side import SampleDifference, TaskVariants, score_all, variant_table
from coin_lightning.reporting.matrix_sections import JudgeScores
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.run_files import read_json

SHOWN_DIFFERENCES = 5
"""Differing samples that the page prints per task; `cli.score` lists all."""


def matrix_cells(matrix: RunMatrix) -> list[dict[str, Any]]:
    """One entry per row of the matrix: title, and per cell value, change in points, kind, and colour strength 0-100.

    Kinds: ``empty``, ``start`` (zero-shot), ``own`` (right after its training), ``past`` (trained before), ``future``.
    Below zero-shot stands, where it is known, what the questions give without looking (`RunMatrix.guess`).
    """
    change = matrix.change()
    rows = [
        {
            "title": matrix.title(name),
            "cells": [_cell(matrix, change, row, column) for column in range(len(matrix.tasks))],
        }
        for row, name in enumerate(matrix.rows)
        if row in matrix.shown
    ]
    return [*rows[:1], *_without_looking(matrix), *rows[1:]]


def _without_looking(matrix: RunMatrix) -> list[dict[str, Any]]:
    if not matrix.guesses:
        return []
    values = [matrix.guess(task) for task in matrix.tasks]
    cells = [
        {"value": value, "kind": "empty" if np.isnan(value) else "start", "strength": 0, "own": False}
        for value in values
    ]
    return [{"title": "guessing", "cells": cells}]


def _cell(matrix: RunMatrix, change: np.ndarray, row: int, column: int) -> dict[str, Any]:
    value, delta = float(matrix.scores[row, column]), float(change[row, column])
    place = "own" if matrix.is_own(row, column) else "past" if row > column + 1 else "future"
    kind = "empty" if np.isnan(value) else "start" if row == 0 else place
    strength = 0 if np.isnan(delta) else round(min(abs(delta), 60) / 60 * 100)
    own = place == "own"
    return {"value": value, "change": delta, "kind": kind, "strength": strength, "gain": delta > 0, "own": own}


@dataclass(frozen=True)
class JudgeSection:
    """One judge on the page: who it is, its matrix, and what it could not read."""

    name: str
    view: RunMatrix
    cells: list[dict[str, Any]]
    identity: str
    unparsed: str
    embedding: bool


def judge_sections(matrix: RunMatrix) -> list[JudgeSection]:
    """A section for each judge of the run."""
    return [
        JudgeSection(
            name=name,
            view=matrix.judged(name),
            cells=matrix_cells(matrix.judged(name)),
            identity=identity_text(judge.protocol),
            unparsed=unparsed_text(matrix, judge),
            embedding=judge.protocol.get("judge") == "embedding",
        )
        for name, judge in matrix.judges.items()
    ]


def unparsed_text(matrix: RunMatrix, judge: JudgeScores) -> str:
    """How many replies could not be read, and where: never silently part of a score."""
    if judge.protocol.get("judge") == PRINTED:
        return "how many replies could not be read is not known"
    total, lost = int(judge.counts.sum()), int(judge.unparsed.sum())
    if not lost:
        return f"all {total} replies could be read"
    counted = "are left out of the scores" if judge.strict else "count as 0"
    places = ", ".join(
        f"{matrix.title(matrix.tasks[column])} after {matrix.title(matrix.rows[row])} {judge.unparsed[row, column]}"
        for row, column in np.argwhere(judge.unparsed)
    )
    return f"{lost} of {total} replies could not be read and {counted}: {places}"


@dataclass(frozen=True)
class ScoringSection:
    """All variants of the scorers on the answers after one experience."""

    after: str
    versions: str
    rows: list[TaskVariants]
    differences: list[tuple[str, list[SampleDifference], int]]
    metrics: dict[str, dict[str, float | None]]
    parts: list[tuple[str, str, float, int]]

    @property
    def variants(self) -> list[str]:
        """Names of the variants, the first the one to which the others are compared."""
        return list(self.rows[0].scores)

    def metric(self, variant: str, key: str) -> float | None:
        """A metric of the matrix by one variant."""
        return self.metrics.get(variant, {}).get(key)


def scoring_section(run: RunArtifacts) -> ScoringSection | None:
    """All variants after the last finished experience, and samples on which they differ; None before any scores.

    Raises:
        RunError: an artefact is missing or garbled.
    """
    row = run.matrix.last
    if row < 0:
        return None
    scores = read_json(run.folder(row) / "scores.json")
    rows = variant_table(scores, run.matrix.tasks)
    return ScoringSection(
        after=run.task(row),
        versions=_versions(run.matrix),
        rows=rows,
        differences=list(_differences(run, row, [line.task for line in rows if line.differing])),
        metrics={name: variant.metrics for name, variant in run.matrix.variants.items()},
        parts=list(_parts(scores.get("breakdown") or {})),
    )


def _differences(run: RunArtifacts, row: int, tasks: list[str]) -> Iterator[tuple[str, list[SampleDifference], int]]:
    for task in tasks:
        try:
            records = read_records(run.folder(row) / "records" / f"{task}.jsonl")
            found = score_all(records, run.scoring(task)).differences
        except DataError:  # the counts are in scores.json; a page can do without the rows themselves
            continue
        if found:
            yield task, list(found[:SHOWN_DIFFERENCES]), len(found)


def _versions(matrix: RunMatrix) -> str:
    """Which version of its scorers a task has, as far as it is not the first."""
    later = [f"{matrix.title(task)} {version}" for task, version in matrix.versions.items() if version > 1]
    return f", by version {', '.join(later)} of the scorers" if later else ""


def _parts(breakdown: dict[str, Any]) -> Iterator[tuple[str, str, float, int]]:
    for task, parts in breakdown.items():
        for name, part in parts.items():
            yield task, name, part["score"], part["count"]
