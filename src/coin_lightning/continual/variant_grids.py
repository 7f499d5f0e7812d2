"""All variants of the scores of a whole run: the `variants` and `differing` fields of `matrix.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from coin_lightning.evaluation.side_by_side import in_order, variants_of
from coin_lightning.metrics.score_matrix import ScoreMatrix, metrics_to_json

Scores = Mapping[int, Mapping[str, Any]]
"""Content of `scores.json` by position of the experience."""


def variant_matrix(tasks: Sequence[str], scores: Scores, variant: str, training: str = "sequence") -> ScoreMatrix:
    """The score matrix by one variant; NaN where a cell was not scored by it. `training` as in `ScoreMatrix`."""
    matrix = ScoreMatrix.empty(tasks, training)
    for position, row in scores.items():
        cells = variants_of(row).get(variant, {})
        counts = {task: count for task, count in row["counts"].items() if task in cells}  # a printed score may lack it
        matrix = matrix.with_row(position, cells, counts)
    return matrix


def guesses_of(scores: Scores, variant: str) -> dict[str, Any]:
    """By task what its questions give without looking (`evaluation.guessing.Guess`), as scored with zero-shot."""
    found: dict[str, Any] = scores.get(0, {}).get("variants", {}).get(variant, {}).get("guesses", {})
    return found


def variant_grids(tasks: Sequence[str], scores: Scores, training: str = "sequence") -> dict[str, Any]:
    """`variants` (by variant that any task has: grid of scores with nulls, and its metrics) and `differing` (grid of
    the number of samples that the variants score differently)."""
    variants = {}
    for variant in in_order(variants_of(row) for row in scores.values()):
        matrix = variant_matrix(tasks, scores, variant, training)
        variants[variant] = {"scores": matrix.to_json()["scores"], "metrics": metrics_to_json(matrix.summary())}
    counted: list[Mapping[str, int]] = [scores.get(row, {}).get("differing") or {} for row in range(len(tasks) + 1)]
    return {"variants": variants, "differing": [[row.get(task) for task in tasks] for row in counted]}
