"""Continual-learning metrics of a score matrix.

Notation (1-based, as in the papers): A[j, i] is the score on task i after training task j; A[0, i] is zero-shot;
S[i] is the score of a model trained on task i alone; M[i] is the score of one model trained on all tasks together.
Unit: that of the input (percent in this project). A metric with a missing cell among the cells it needs is NaN:
nothing is averaged over "what happens to be there".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coin_lightning.errors import ConfigError

Scores = Sequence[Sequence[float | None]] | NDArray[np.floating[Any]]
TaskVector = Sequence[float | None] | NDArray[np.floating[Any]]
Matrix = NDArray[np.float64]


def summarize(
    scores: Scores, individual: TaskVector | None = None, joint: TaskVector | None = None
) -> dict[str, float]:
    """All metrics that the given numbers allow; the others are NaN.

    Args:
        scores: [T+1][T] with row 0 = zero-shot, or [T][T] without it. None or NaN = not evaluated.
        individual: [T] scores S of single-task models, for `intransigence` and `retention_individual`.
        joint: [T] scores M of the jointly trained model, for `retention`.

    Returns:
        keys acc, maa, bwt, bwt_coin, forgetting, learning_accuracy, fwt, transfer, intransigence, retention,
        retention_individual, zero_shot (mean of row 0); in the unit of `scores`, except the two retentions, which are
        ratios.

    Raises:
        ConfigError: the shape is neither [T+1][T] nor [T][T], or a value is not a finite number.
    """
    zero_shot, trained = split_rows(scores)
    count = trained.shape[1]
    single = _vector(individual, count, "individual")
    together = _vector(joint, count, "joint")
    return {
        "acc": average_accuracy(trained),
        "maa": mean_average_accuracy(trained),
        "bwt": backward_transfer(trained),
        "bwt_coin": backward_transfer_coin(trained),
        "forgetting": forgetting(trained),
        "learning_accuracy": learning_accuracy(trained),
        "fwt": forward_transfer(trained, zero_shot),
        "transfer": transfer(trained),
        "intransigence": intransigence(trained, single),
        "retention": retention(trained, together),
        "retention_individual": retention(trained, single),
        "zero_shot": float(zero_shot.mean()),
    }


def split_rows(scores: Scores) -> tuple[Matrix, Matrix]:
    """Zero-shot row [T] (NaN where absent) and the trained rows [T, T] of `scores`.

    Raises:
        ConfigError: as in `summarize`.
    """
    table = _table(scores)
    rows, columns = table.shape
    if columns == 0 or rows not in (columns, columns + 1):
        raise ConfigError(
            f"scores: {rows} rows x {columns} columns; a matrix of T tasks is [T+1][T] with a zero-shot row, or [T][T]"
        )
    if rows == columns:
        return np.full(columns, np.nan), table
    return table[0], table[1:]


def average_accuracy(trained: Matrix) -> float:
    """ACC = (1/T) sum_i A[T, i]. Also called MFN, Last, AP (CoIN; MCITlib; HiDe-LLaVA; SMoLoRA)."""
    return float(trained[-1].mean())


def mean_average_accuracy(trained: Matrix) -> float:
    """MAA = (1/T) sum_j (1/j) sum_{i<=j} A[j, i] (CoIN; MCITlib; "Avg" in HiDe-LLaVA)."""
    return float(np.mean([trained[j, : j + 1].mean() for j in range(len(trained))]))


def learning_accuracy(trained: Matrix) -> float:
    """LA = (1/T) sum_i A[i, i]. Also called MFT, New.ACC (MLLM-CL; MCITlib)."""
    return float(np.diagonal(trained).mean())


def backward_transfer(trained: Matrix) -> float:
    """BWT = (1/(T-1)) sum_{i<T} (A[T, i] - A[i, i]) (Lopez-Paz and Ranzato 2017; MLLM-CL; MCITlib). NaN for T = 1.

    Its negative is what RECAP and SAME print as forgetting or mean drop.
    """
    if len(trained) == 1:
        return float("nan")
    return float((trained[-1] - np.diagonal(trained))[:-1].mean())


def backward_transfer_coin(trained: Matrix) -> float:
    """BWT as CoIN prints it: (1/T) sum_{i<=T} (A[T, i] - A[i, i]) = ACC - LA; the last task's zero counts in the
    divisor."""
    return float((trained[-1] - np.diagonal(trained)).mean())


def forgetting(trained: Matrix) -> float:
    """F = (1/(T-1)) sum_{i<T} (max_{i<=j<T} A[j, i] - A[T, i]) (Chaudhry et al. 2018, max form; positive = forgot).
    NaN for T = 1."""
    if len(trained) == 1:
        return float("nan")
    return float(forgetting_per_task(trained)[:-1].mean())


def forgetting_per_task(trained: Matrix, after: int | None = None) -> Matrix:
    """[T] f_i = max_{i<=j<k} A[j, i] - A[k, i] for the tasks before k, NaN for the others (the addends of
    `forgetting`).

    Args:
        trained: [T, T] rows after task 1..T.
        after: k, 1-based; default T.

    Raises:
        ConfigError: k is not in 1..T.
    """
    count = len(trained)
    last = count if after is None else after
    if not 1 <= last <= count:
        raise ConfigError(f"after={last}: the matrix has rows 1 to {count}")
    drops = np.full(count, np.nan)
    for task in range(last - 1):
        drops[task] = trained[task : last - 1, task].max() - trained[last - 1, task]
    return drops


def forward_transfer(trained: Matrix, zero_shot: Matrix) -> float:
    """FWT = (1/(T-1)) sum_{i>1} (A[i-1, i] - A[0, i]) (Lopez-Paz and Ranzato 2017). NaN for T = 1 or without a
    zero-shot row.

    It reads one cell above the diagonal per task, which only `evaluation=full` fills.
    """
    count = len(trained)
    if count == 1:
        return float("nan")
    return float(np.mean([trained[i - 1, i] - zero_shot[i] for i in range(1, count)]))


def transfer(trained: Matrix) -> float:
    """Transfer = mean over i>1 of (1/(i-1)) sum_{1<=j<i} A[j, i] (ZSCL, Zheng et al. 2023; KeepLoRA). NaN for T = 1.

    The mean score on a task before it is trained; the zero-shot row is not part of it.
    """
    count = len(trained)
    if count == 1:
        return float("nan")
    return float(np.mean([trained[:i, i].mean() for i in range(1, count)]))


def intransigence(trained: Matrix, individual: Matrix) -> float:
    """I = (1/T) sum_i (S[i] - A[i, i]): what the sequence costs in learning new tasks.

    After Chaudhry et al. 2018, averaged over tasks, but not theirs: their reference for task k is a model trained on
    the data of tasks 1 to k together, which would take T joint runs; here it is one trained on task k alone.
    """
    return float((individual - np.diagonal(trained)).mean())


def retention(trained: Matrix, bound: Matrix) -> float:
    """ACC divided by the mean of an upper bound (joint scores M, or individual scores S); a ratio, 1 = nothing lost.
    NaN for a zero bound."""
    mean = float(bound.mean())
    return average_accuracy(trained) / mean if mean else float("nan")


def _table(scores: Scores) -> Matrix:
    if any(np.ndim(row) == 0 for row in scores):  # type: ignore[arg-type]
        raise ConfigError("scores: not a table; give one row of cells per task, the zero-shot row first")
    rows = [list(row) for row in scores]
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        raise ConfigError(
            f"scores: rows of {sorted(widths)} cells; every row needs one cell per task (null where not evaluated)"
        )
    return np.array(
        [[_number(cell, f"scores[{j}][{i}]") for i, cell in enumerate(row)] for j, row in enumerate(rows)],
        dtype=np.float64,
    )


def _vector(values: TaskVector | None, count: int, name: str) -> Matrix:
    if values is None:
        return np.full(count, np.nan)
    if len(values) != count:
        raise ConfigError(f"{name}: {len(values)} values for {count} tasks; give one per task, in scenario order")
    return np.array([_number(value, f"{name}[{i}]") for i, value in enumerate(values)], dtype=np.float64)


def _number(cell: object, where: str) -> float:
    if cell is None:
        return float("nan")
    if isinstance(cell, bool) or not isinstance(cell, int | float | np.integer | np.floating):
        raise ConfigError(
            f"{where}: {cell!r} is not a number; write null (None, NaN) for a cell that was not evaluated"
        )
    if np.isinf(cell):
        raise ConfigError(f"{where}: {cell!r} is not finite; write null (None, NaN) for a cell that was not evaluated")
    return float(cell)
