"""What every logger gets after an experience, under the same names: scores, forgetting, metrics and the matrix."""

import io
import math
from collections.abc import Iterable

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

from coin_lightning.errors import RunError
from coin_lightning.reporting.figures import matrix_figure
from coin_lightning.reporting.rendering import png_bytes
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix

TASK = "task"
"""Name of the axis over the sequence of tasks: the row of the matrix."""


def experience_scalars(matrix: RunMatrix, row: int) -> dict[str, float]:
    """Scores, forgetting and metrics of one row of the matrix, missing values left out.

    Args:
        matrix: scores in percent.
        row: 0 for zero-shot, k for the row after task k.

    Returns:
        ``score/<task>`` percent; ``forgetting/<task>`` points lost from its best score, for tasks trained before;
        ``metrics/seen_mean`` mean over the tasks trained so far; ``metrics/<key>`` of the whole, for the last row of a
        finished run;
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
    values["metrics/seen_mean"] = float(matrix.seen_mean[row])
    if row == matrix.last and matrix.is_complete:
        values |= {f"metrics/{key}": value for key, value in matrix.metrics.items() if value is not None}
    return {key: value for key, value in values.items() if not math.isnan(value)}


def judged_scalars(matrix: RunMatrix, row: int) -> dict[str, float]:
    """Those of `experience_scalars` that a judge has made."""
    values = experience_scalars(matrix, row)
    return {key: value for key, value in values.items() if key.startswith(("judge/", "metrics/judge/"))}


def log_experience(loggers: Iterable[Logger], run: RunArtifacts, row: int, sequence_step: int) -> None:
    """Give every logger the scalars of a row, TensorBoard also the matrix as image; W&B what `wandb_rows` makes of it.

    Args:
        loggers: Lightning loggers (``trainer.loggers``).
        run: the run folder, the row included.
        row: 0 for zero-shot, k for the row after task k.
        sequence_step: optimizer steps taken since the start of the sequence.

    Raises:
        RunError: the row is not in the matrix yet.
    """
    for logger in loggers:
        guard = getattr(logger, "guard", None)
        if guard is None:
            _log_row(logger, run, row, sequence_step)
        else:
            guard(_log_row, logger, run, row, sequence_step)


def _log_row(logger: Logger, run: RunArtifacts, row: int, sequence_step: int) -> None:
    if hasattr(logger, "log_row"):
        logger.log_row(run, row, sequence_step)
        return
    own_step = sequence_step - getattr(logger, "offset", 0)
    logger.log_metrics({**experience_scalars(run.matrix, row), TASK: float(row)}, step=own_step)
    if isinstance(logger, TensorBoardLogger):
        pixels = np.asarray(matrix_image(run.matrix))
        logger.experiment.add_image("score_matrix", pixels, sequence_step, dataformats="HWC")
    logger.save()


def matrix_image(matrix: RunMatrix) -> Image.Image:
    """The matrix as a heat map."""
    return Image.open(io.BytesIO(png_bytes(matrix_figure(matrix), dpi=110))).convert("RGB")
