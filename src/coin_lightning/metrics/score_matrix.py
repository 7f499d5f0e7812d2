"""The score matrix of a run: its cells, its JSON form (the core of matrix.json) and its CSV form."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coin_lightning.errors import ConfigError
from coin_lightning.metrics.continual import TaskVector, summarize

ZERO_SHOT = "zero_shot"
JOINT = "joint"
TRAININGS = ("sequence", "joint", "nothing")
CELLS = ("seen", "full")
"""Which cells are filled after task k: those of the tasks 1..k, or all."""
"""What a run learns: one task after the other, the union of all tasks at once, or nothing (zero-shot only)."""
OF_THE_END_ALONE = ("acc", "zero_shot", "retention", "retention_individual")
"""Metrics that need no score right after a task's own training; a joint run has only these."""
NOT_EVALUATED = -1  # in `counts`, which is an integer array and so has no NaN


def positions(count: int, training: str = "sequence") -> list[int]:
    """Rows that a run of `count` tasks fills: all, zero-shot and the last (joint), or zero-shot only."""
    trained = {"sequence": list(range(1, count + 1)), "joint": [count], "nothing": []}[training]
    return [0, *trained]


def row_names(tasks: Sequence[str], training: str = "sequence") -> tuple[str, ...]:
    """`zero_shot`, then the tasks; in a joint run the last row is called `joint`."""
    return (ZERO_SHOT, *tasks[:-1], JOINT) if training == "joint" else (ZERO_SHOT, *tasks)


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """R[j, i] = score on task i after training task j; row 0 is zero-shot; a missing cell is NaN, never a guess.

    Instances are not changed: `with_row` gives a new one.

    Args:
        tasks: T names in scenario order.
        scores: [T+1, T] float, percent.
        counts: [T+1, T] integer number of answers behind each cell, -1 where not evaluated.
        training: one of `TRAININGS`. In a joint run row T is the jointly trained model, and rows 1 to T-1 stay empty.

    Raises:
        ConfigError: a name is empty, taken twice, "zero_shot" or "joint", a shape does not fit, a score is infinite,
            or `training` is unknown.
    """

    tasks: tuple[str, ...]
    scores: NDArray[np.float64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    training: str = "sequence"

    def __post_init__(self) -> None:
        names = [*self.tasks, ZERO_SHOT, JOINT]
        if not self.tasks or len(set(names)) != len(names) or not all(names):
            raise ConfigError(
                f"tasks: {list(self.tasks)}; give at least one name, each once, none empty, {ZERO_SHOT!r} or {JOINT!r}"
            )
        if self.training not in TRAININGS:
            raise ConfigError(f"training: {self.training!r} is unknown; use one of {', '.join(TRAININGS)}")
        shape = (len(self.tasks) + 1, len(self.tasks))
        object.__setattr__(self, "scores", np.array(self.scores, dtype=np.float64))  # own copies: nobody else writes
        object.__setattr__(self, "counts", np.array(self.counts, dtype=np.int64))
        for name, table in (("scores", self.scores), ("counts", self.counts)):
            if table.shape != shape:
                raise ConfigError(
                    f"{name}: shape {table.shape}; {len(self.tasks)} tasks need {shape} (zero-shot row first)"
                )
            table.setflags(write=False)
        if np.isinf(self.scores).any():
            raise ConfigError("scores: an infinite value; write null (NaN) for a cell that was not evaluated")

    @classmethod
    def empty(cls, tasks: Iterable[str], training: str = "sequence") -> "ScoreMatrix":
        """A matrix of the named tasks with nothing evaluated yet."""
        names = tuple(tasks)
        shape = (len(names) + 1, len(names))
        return cls(names, np.full(shape, np.nan), np.full(shape, NOT_EVALUATED, dtype=np.int64), training)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ScoreMatrix":
        """Read the core fields `tasks`, `rows`, `scores`, `counts` of a matrix.json; other keys are ignored, null
        becomes NaN.

        Raises:
            ConfigError: a core field is absent, `rows` are not those of the tasks, or a table has the wrong shape or
                content.
        """
        absent = [key for key in ("tasks", "rows", "scores", "counts") if key not in data]
        if absent:
            raise ConfigError(f"matrix.json: no field {', '.join(absent)}; write it with ScoreMatrix.to_json")
        tasks = tuple(data["tasks"])
        training = data.get("training", data.get("learned", "sequence"))
        expected = list(row_names(tasks, training))
        if list(data["rows"]) != expected:
            raise ConfigError(f"matrix.json: rows {list(data['rows'])}; expected {expected}")
        scores = _read_table(data["scores"], "scores", float("nan"), np.float64)
        counts = _read_table(data["counts"], "counts", NOT_EVALUATED, np.int64)
        return cls(tasks, scores, counts, training)

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the T+1 rows; see `row_names`."""
        return row_names(self.tasks, self.training)

    def score(self, row: str | int, task: str) -> float:
        """Score on `task` after `row` (a row name, or 0 for zero-shot and k for the k-th task); NaN where not
        evaluated."""
        return float(self.scores[self._row(row), self._column(task)])

    def with_row(
        self, row: str | int, scores: Mapping[str, float], counts: Mapping[str, int] | None = None
    ) -> "ScoreMatrix":
        """A copy in which `row` holds exactly `scores` (tasks not named become NaN) and `counts`.

        Raises:
            ConfigError: an unknown row or task, a score that is not finite, a count that is not a positive integer.
        """
        index, table, numbers = self._row(row), self.scores.copy(), self.counts.copy()
        table[index], numbers[index] = np.nan, NOT_EVALUATED
        for task, value in scores.items():
            if not math.isfinite(value):
                raise ConfigError(
                    f"score of {task!r} after {self.rows[index]!r}: {value!r} is not finite; leave the task out instead"
                )
            table[index, self._column(task)] = value
        for task, number in (counts or {}).items():
            if task not in scores or not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
                where = f"count of {task!r} after {self.rows[index]!r}"
                raise ConfigError(f"{where}: {number!r}; give a positive integer for a scored task")
            numbers[index, self._column(task)] = number
        return ScoreMatrix(self.tasks, table, numbers, self.training)

    def summary(self, individual: TaskVector | None = None, joint: TaskVector | None = None) -> dict[str, float]:
        """All metrics of `metrics.continual.summarize`; NaN where cells are missing.

        A joint run never has a score right after a task's own training, so all metrics built on that are NaN.
        """
        found = summarize(self.scores, individual=individual, joint=joint)
        if self.training != "joint":
            return found
        return {key: value if key in OF_THE_END_ALONE else float("nan") for key, value in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Core fields of matrix.json, ready for json.dump with allow_nan=False: tasks, rows, unit, scores, counts, and
        `learned` where it is no sequence."""
        return {
            "tasks": list(self.tasks),
            "rows": list(self.rows),
            "unit": "percent",
            "scores": [[nan_to_none(cell) for cell in row] for row in self.scores],
            "counts": [[None if cell == NOT_EVALUATED else int(cell) for cell in row] for row in self.counts],
            **({} if self.training == "sequence" else {"training": self.training}),
        }

    def as_csv(self) -> str:
        """CSV text: header "after,<tasks>", one line per row, empty cell = not evaluated, numbers with all their
        digits."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["after", *self.tasks])
        for name, row in zip(self.rows, self.scores, strict=True):
            writer.writerow([name, *("" if math.isnan(cell) else repr(float(cell)) for cell in row)])
        return out.getvalue()

    def _row(self, row: str | int) -> int:
        if isinstance(row, int) and 0 <= row < len(self.rows):
            return row
        if row in self.rows:
            return self.rows.index(str(row))
        raise ConfigError(f"row {row!r}: the matrix has rows {', '.join(self.rows)} (0 to {len(self.tasks)})")

    def _column(self, task: str) -> int:
        if task not in self.tasks:
            raise ConfigError(f"task {task!r}: the matrix has {', '.join(self.tasks)}")
        return self.tasks.index(task)


def nan_to_none(value: float) -> float | None:
    """NaN -> None, which JSON writes as null; any other number as a plain float."""
    return None if math.isnan(value) else float(value)


def metrics_to_json(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """The `metrics` field of matrix.json: NaN (not defined) becomes null."""
    return {name: nan_to_none(value) for name, value in metrics.items()}


def _read_table(
    rows: Sequence[Sequence[float | None]], name: str, missing: float, dtype: type[np.generic]
) -> NDArray[Any]:
    if len({len(row) for row in rows}) > 1:
        raise ConfigError(
            f"matrix.json: {name} has rows of different length; every row needs one cell per task (null where missing)"
        )
    for row in rows:
        for cell in row:
            whole = dtype is np.float64 or isinstance(cell, int)
            if cell is not None and (isinstance(cell, bool) or not isinstance(cell, int | float) or not whole):
                raise ConfigError(
                    f"matrix.json: {name} holds {cell!r}; a cell is a number, or null where not evaluated"
                )
    return np.array([[missing if cell is None else cell for cell in row] for row in rows], dtype=dtype)
