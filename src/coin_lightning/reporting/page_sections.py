"""What the page of a run shows beside figures: matrices, judges, and both readings of the rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from coin_lightning.errors import DataError
from coin_lightning.evaluation.judges.summary import identity_text
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.side_by_side import RowDifference, VariantRow, score_both, variant_rows
from coin_lightning.reporting.matrix_sections import JudgeScores
from coin_lightning.reporting.names import title
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.run_files import read_json

SHOWN_DIFFERENCES = 5
"""Differing rows that the page prints per task; `cli.score` lists all."""


def matrix_cells(matrix: RunMatrix) -> list[dict[str, Any]]:
    """One entry per row of the matrix: name, and per cell value, change in points, kind, and colour strength 0-100.

    Kinds: ``empty``, ``start`` (zero-shot), ``own`` (right after its training), ``past`` (trained before), ``future``.
    """
    change = matrix.change()
    return [
        {"name": name, "cells": [_cell(matrix, change, row, column) for column in range(len(matrix.tasks))]}
        for row, name in enumerate(matrix.rows)
        if row in matrix.shown
    ]


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
    total, lost = int(judge.counts.sum()), int(judge.unparsed.sum())
    if not lost:
        return f"all {total} replies could be read"
    counted = "are left out of the scores" if judge.strict else "count as 0"
    places = ", ".join(
        f"{title(matrix.tasks[column])} after {title(matrix.rows[row])} {judge.unparsed[row, column]}"
        for row, column in np.argwhere(judge.unparsed)
    )
    return f"{lost} of {total} replies could not be read and {counted}: {places}"


@dataclass(frozen=True)
class ScoringSection:
    """Both readings of the rules on the answers after one experience."""

    after: str
    rows: list[VariantRow]
    differences: list[tuple[str, list[RowDifference], int]]
    metrics: dict[str, dict[str, float | None]]
    parts: list[tuple[str, str, float, int]]


def scoring_section(run: RunArtifacts) -> ScoringSection | None:
    """Both variants after the last finished experience, and rows on which they differ; None before any scores.

    Raises:
        RunError: an artefact is missing or garbled.
    """
    row = run.matrix.last
    if row < 0:
        return None
    scores = read_json(run.folder(row) / "scores.json")
    rows = variant_rows(scores, run.matrix.tasks)
    return ScoringSection(
        after=run.task(row),
        rows=rows,
        differences=list(_differences(run, row, [line.task for line in rows if line.differing])),
        metrics={name: variant.metrics for name, variant in run.matrix.variants.items()},
        parts=list(_parts(scores.get("breakdown") or {})),
    )


def _differences(run: RunArtifacts, row: int, tasks: list[str]) -> Iterator[tuple[str, list[RowDifference], int]]:
    for task in tasks:
        try:
            found = score_both(read_records(run.folder(row) / "records" / f"{task}.jsonl"), task).differences
        except DataError:  # the counts are in scores.json; a page can do without the rows themselves
            continue
        if found:
            yield task, list(found[:SHOWN_DIFFERENCES]), len(found)


def _parts(breakdown: dict[str, Any]) -> Iterator[tuple[str, str, float, int]]:
    for task, parts in breakdown.items():
        for name, part in parts.items():
            yield task, name, part["score"], part["count"]
