"""The numbers that every logger gets after an experience, under the same names."""

import math

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.reporting.run_matrix import RunMatrix


def experience_scalars(matrix: RunMatrix, row: int) -> dict[str, float]:
    """Scores, forgetting and metrics of one row of the matrix, missing values left out.

    Args:
        matrix: scores in percent.
        row: 0 for zero-shot, k for the row after task k.

    Returns:
        ``score/<task>`` percent; ``forgetting/<task>`` points lost from its best score, for tasks trained before;
        ``metrics/seen_mean`` mean over the tasks trained so far; ``metrics/<key>`` of the matrix, for its last row;
        ``judge/<judge>/<task>`` percent, for every judge of the run.

    Raises:
        RunError: the row is not in the matrix yet.
    """
    if not 0 <= row <= matrix.last:
        raise RunError(f"Row {row} is not finished: the matrix holds rows 0 to {matrix.last}; evaluate before logging.")
    scores, lost = matrix.scores[row], matrix.forgetting(row)
    values = {f"score/{task}": float(scores[i]) for i, task in enumerate(matrix.tasks)}
    values |= {f"forgetting/{task}": float(lost[i]) for i, task in enumerate(matrix.tasks)}
    for name, judge in matrix.judges.items():
        values |= {f"judge/{name}/{task}": float(judge.scores[row, i]) for i, task in enumerate(matrix.tasks)}
    if row > 0 and not np.isnan(scores[:row]).any():
        values["metrics/seen_mean"] = float(scores[:row].mean())
    if row == matrix.last:
        values |= {f"metrics/{key}": value for key, value in matrix.metrics.items() if value is not None}
    return {key: value for key, value in values.items() if not math.isnan(value)}
