"""``matrix.json`` as a typed, checked value: the one file every table and figure starts from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.reporting.json_fields import field, read_json

Scalar = str | float | int | bool | None


@dataclass(frozen=True)
class RunMatrix:
    """Scores in percent, NaN where nothing was evaluated.

    Attributes:
        tasks: T task keys in training order.
        scores: ``[T + 1, T]``; row 0 is zero-shot, row k is after training on ``tasks[k - 1]``.
        counts: ``[T + 1, T]`` answers scored, 0 where nothing was evaluated.
        metrics: metric key -> percent or percentage points; None where the matrix does not define it.
    """

    tasks: tuple[str, ...]
    scores: np.ndarray
    counts: np.ndarray
    metrics: dict[str, float | None]
    protocol: dict[str, Scalar]
    cost: dict[str, Any]
    experiment: str
    method: str
    backbone: str
    seed: int
    notes: tuple[str, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """Row names: ``zero_shot``, then the tasks."""
        return ("zero_shot", *self.tasks)

    @property
    def last(self) -> int:
        """Index of the last row that holds a score: 0 when only zero-shot is there, -1 when none is."""
        filled = np.flatnonzero(~np.isnan(self.scores).all(axis=1))
        return int(filled[-1]) if filled.size else -1

    @property
    def is_complete(self) -> bool:
        """Whether the row after the last task is there."""
        return self.last == len(self.tasks)

    @property
    def zero_shot(self) -> np.ndarray:
        """``[T]`` scores before any training."""
        return self.scores[0]

    @property
    def immediate(self) -> np.ndarray:
        """``[T]`` score on each task right after its own training (the diagonal)."""
        return np.array([self.scores[i + 1, i] for i in range(len(self.tasks))])

    @property
    def final(self) -> np.ndarray:
        """``[T]`` the last finished row; all NaN before the first."""
        return self.scores[self.last] if self.last >= 0 else np.full(len(self.tasks), np.nan)

    def change(self) -> np.ndarray:
        """``[T + 1, T]`` gain or loss of each cell in points.

        Below the diagonal against the score right after the task's own training (forgetting); on and above it against
        zero-shot (learning, transfer). Row 0 is NaN: it has nothing to be compared with.
        """
        row, column = np.indices(self.scores.shape)
        reference = np.where(row > column + 1, self.immediate[None, :], self.zero_shot[None, :])
        delta = self.scores - reference
        delta[0] = np.nan
        return delta

    def forgetting(self, row: int) -> np.ndarray:
        """``[T]`` best score since the task was trained minus the score in ``row`` (max form, Chaudhry et al. 2018).

        NaN for tasks trained in ``row`` or later, and where a cell is missing.
        """
        lost = np.full(len(self.tasks), np.nan)
        for i in range(max(row - 1, 0)):
            earlier = self.scores[i + 1 : row, i]
            if not np.isnan(earlier).all():
                lost[i] = np.nanmax(earlier) - self.scores[row, i]
        return lost


def load_matrix(path: Path | str) -> RunMatrix:
    """Read ``matrix.json``, or the one inside a run folder.

    Raises:
        RunError: missing, not JSON, or a field or cell is not what the format says.
    """
    path = Path(path)
    file = path / "matrix.json" if path.is_dir() or not path.suffix else path
    return parse_matrix(read_json(file), file)


def parse_matrix(content: Mapping[str, Any], source: Path | str = "matrix.json") -> RunMatrix:
    """Check the content of a ``matrix.json`` and turn null into NaN.

    Args:
        content: the parsed JSON object.
        source: file name for messages.

    Raises:
        RunError: a field or cell is not what the format says.
    """
    data, path = dict(content), Path(source)
    tasks = field(data, path, "tasks", list)
    if not tasks or len(set(tasks)) != len(tasks) or not all(isinstance(task, str) for task in tasks):
        raise RunError(f"{path}: field 'tasks' is {tasks!r}, expected a list of different task names.")
    return RunMatrix(
        tasks=tuple(tasks),
        scores=_grid(data, path, "scores", tasks),
        counts=np.nan_to_num(_grid(data, path, "counts", tasks)).astype(int),
        metrics=_metrics(data, path),
        protocol=dict(field(data, path, "protocol", dict)),
        cost=dict(field(data, path, "cost", dict)),
        experiment=field(data, path, "experiment", str),
        method=field(data, path, "method", str),
        backbone=field(data, path, "backbone", str),
        seed=field(data, path, "seed", int),
        notes=tuple(str(note) for note in field(data, path, "notes", list)),
    )


def _grid(data: dict[str, Any], path: Path, key: str, tasks: list[str]) -> np.ndarray:
    rows = field(data, path, key, list)
    if len(rows) != len(tasks) + 1 or any(not isinstance(row, list) or len(row) != len(tasks) for row in rows):
        raise RunError(f"{path}: field '{key}' must have {len(tasks) + 1} rows of {len(tasks)} cells.")
    for j, row in enumerate(rows):
        for i, cell in enumerate(row):
            if not _is_cell(cell):
                raise RunError(f"{path}: {key}[{j}][{i}] ({tasks[i]}) is {cell!r}, expected a number from 0 or null.")
    return np.array([[np.nan if cell is None else float(cell) for cell in row] for row in rows])


def _is_cell(cell: Any) -> bool:
    if cell is None:
        return True
    return isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell) and cell >= 0


def _metrics(data: dict[str, Any], path: Path) -> dict[str, float | None]:
    metrics = field(data, path, "metrics", dict)
    for key, value in metrics.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RunError(f"{path}: metrics['{key}'] is {value!r}, expected a number or null.")
    return {key: None if value is None else float(value) for key, value in metrics.items()}
