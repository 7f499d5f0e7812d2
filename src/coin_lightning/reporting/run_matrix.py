"""``matrix.json`` as a typed, checked value: the one file every table and figure starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as field_of
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.metrics.score_matrix import TRAININGS, positions, row_names
from coin_lightning.reporting.json_fields import field
from coin_lightning.reporting.matrix_sections import (
    JudgeScores,
    VariantScores,
    differing_in,
    grid,
    judges_in,
    metrics_of,
    variants_in,
)
from coin_lightning.reporting.names import method_title, short, title
from coin_lightning.run_files import read_json, task_names

Scalar = str | float | int | bool | None


@dataclass(frozen=True)
class RunMatrix:
    """Scores in percent, NaN where nothing was evaluated.

    Attributes:
        tasks: T task keys in training order.
        scores: ``[T + 1, T]``; row 0 is zero-shot, row k is after training on ``tasks[k - 1]``. In a joint run row T is
            the model trained on all tasks at once, and the rows between are empty.
        counts: ``[T + 1, T]`` answers scored, 0 where nothing was evaluated.
        metrics: metric key -> percent or percentage points; None where the matrix does not define it.
        variants: both readings of the rules; ``differing`` ``[T + 1, T]`` rows that they score differently.
        judges: what judges say of the same answers, by judge.
        published: key of the published row that the experiment reproduces.
        titles, shorts: of the tasks, and of the method, for readers, as their yaml had them.
        versions: of the scorers of each task.
        seed: None where it is not known, as of imported runs.
        imported: of a run that was made from another program's results, where they came from and what is not known.
        guesses: by task what its questions give without looking: `answer` (the best constant one), `score`, `chance`.
        bounds: by kind (`individual`, `joint`) scores by task, and the runs that they are from.
        training: ``sequence``, ``joint`` or ``nothing``; see ``ScoreMatrix``.
        folder: of the run, with its records; None for a matrix by itself.
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
    seed: int | None
    notes: tuple[str, ...]
    variants: Mapping[str, VariantScores] = field_of(default_factory=dict)
    differing: np.ndarray = field_of(default_factory=lambda: np.empty((0, 0)))
    judges: Mapping[str, JudgeScores] = field_of(default_factory=dict)
    published: str | None = None
    training: str = "sequence"
    titles: Mapping[str, str] = field_of(default_factory=dict)
    shorts: Mapping[str, str] = field_of(default_factory=dict)
    method_title: str = ""
    versions: Mapping[str, int] = field_of(default_factory=dict)
    bounds: Mapping[str, Any] = field_of(default_factory=dict)
    guesses: Mapping[str, Mapping[str, Any]] = field_of(default_factory=dict)
    imported: Mapping[str, Any] = field_of(default_factory=dict)
    folder: Path | None = None

    def title(self, name: str) -> str:
        """A row or task as readers know it; of a run that kept no titles, as the package's yaml has it."""
        return title(name, self.titles)

    def short(self, task: str) -> str:
        """A task in a narrow column."""
        return short(task, self.shorts)

    @property
    def rows(self) -> tuple[str, ...]:
        """Row names: ``zero_shot``, then the tasks; in a joint run the last is ``joint``."""
        return row_names(self.tasks, self.training)

    @cached_property
    def filled(self) -> list[int]:
        """Rows that hold a score."""
        return [int(row) for row in np.flatnonzero(~np.isnan(self.scores).all(axis=1))]

    @property
    def shown(self) -> list[int]:
        """Rows that a table shows: all of a sequence, also those still to come, else only what is filled."""
        return list(range(len(self.rows))) if self.training == "sequence" else self.filled

    def is_own(self, row: int, column: int) -> bool:
        """Whether the cell is the score on a task right after its own training."""
        return self.training == "sequence" and row == column + 1

    @property
    def headline_bwt(self) -> str:
        """Key of the backward transfer that the run's protocol shows first."""
        return "bwt_coin" if self.protocol.get("bwt_divisor") == "tasks" else "bwt"

    @cached_property
    def last(self) -> int:
        """Index of the last row that holds a score: 0 when only zero-shot is there, -1 when none is."""
        return self.filled[-1] if self.filled else -1

    @property
    def is_complete(self) -> bool:
        """Whether the last row that this kind of run fills is there."""
        return self.last == positions(len(self.tasks), self.training)[-1]

    @property
    def zero_shot(self) -> np.ndarray:
        """``[T]`` scores before any training."""
        return self.scores[0]

    @property
    def immediate(self) -> np.ndarray:
        """``[T]`` score on each task right after its own training; NaN where no task is trained alone."""
        if self.training != "sequence":
            return np.full(len(self.tasks), np.nan)
        return np.array([self.scores[i + 1, i] for i in range(len(self.tasks))])

    @property
    def final(self) -> np.ndarray:
        """``[T]`` the last finished row; all NaN before the first."""
        return self.scores[self.last] if self.last >= 0 else np.full(len(self.tasks), np.nan)

    @property
    def seen_mean(self) -> np.ndarray:
        """``[T + 1]`` mean score over the tasks trained so far; NaN for row 0 and where a cell is missing."""
        return np.array([np.nan, *(self.scores[row, :row].mean() for row in range(1, len(self.scores)))])

    def guess(self, task: str) -> float:
        """Score of the best constant answer, or chance among choices where that is more; NaN where it is not known."""
        own = self.guesses.get(task, {})
        known = [float(own[key]) for key in ("score", "chance") if own.get(key) is not None]
        return max(known, default=np.nan)

    def judged(self, name: str) -> "RunMatrix":
        """The same run with a judge's scores, counts and metrics in place of the rules'."""
        judge = self.judges[name]
        return replace(self, scores=judge.scores, counts=judge.counts, metrics=judge.metrics, guesses={})

    def scored(self, variant: str) -> "RunMatrix":
        """The same run with the scores and metrics of one variant of the rules."""
        own = self.variants[variant]
        return replace(self, scores=own.scores, metrics=own.metrics, guesses={})

    def change(self) -> np.ndarray:
        """``[T + 1, T]`` gain or loss of each cell in points.

        Below the diagonal against the score right after the task's own training (forgetting); on and above it, and in a
        joint run, against zero-shot (learning, transfer). Row 0 is NaN: it has nothing to be compared with.
        """
        row, column = np.indices(self.scores.shape)
        forgets = (row > column + 1) & (self.training == "sequence")
        reference = np.where(forgets, self.immediate[None, :], self.zero_shot[None, :])
        delta = self.scores - reference
        delta[0] = np.nan
        return delta

    def forgetting(self, row: int) -> np.ndarray:
        """``[T]`` best score since the task was trained minus the score in ``row`` (max form, Chaudhry et al. 2018).

        NaN for tasks trained in ``row`` or later, and where a cell is missing.
        """
        lost = np.full(len(self.tasks), np.nan)
        for i in range(max(row - 1, 0)):
            lost[i] = self.scores[i + 1 : row, i].max() - self.scores[row, i]
        return lost


def load_matrix(path: Path | str) -> RunMatrix:
    """Read ``matrix.json``, or the one inside a run folder.

    Raises:
        RunError: nothing is there, it is not JSON, or a field or cell is not what the format says.
    """
    path = Path(path)
    if not path.exists() and path.suffix != ".json":
        raise no_folder(path)
    file = path / "matrix.json" if path.is_dir() else path
    matrix, folder = parse_matrix(read_json(file), file), file.parent
    return replace(matrix, folder=folder) if file.name == "matrix.json" else matrix


def no_folder(path: Path) -> RunError:
    """What is wrong with the path of a run where no folder is."""
    return RunError(f"{path}: no such run folder; give the folder that holds matrix.json.")


def parse_matrix(content: Mapping[str, Any], source: Path | str = "matrix.json") -> RunMatrix:
    """Check the content of a ``matrix.json`` and turn null into NaN.

    Args:
        content: the parsed JSON object.
        source: file name for messages.

    Raises:
        RunError: a field or cell is not what the format says.
    """
    data, path = dict(content), Path(source)
    tasks = task_names(data, path)
    training = data.get("training", data.get("learned", "sequence"))
    if training not in TRAININGS:
        raise RunError(f"{path}: field 'training' is {training!r}, expected one of {', '.join(TRAININGS)}.")
    groups = {
        key: field(data, path, key, dict) if data.get(key) else {}
        for key in ("titles", "short", "bounds", "guesses", "imported", "versions")
    }
    imported = groups["imported"]
    return RunMatrix(
        tasks=tuple(tasks),
        scores=grid(data, path, "scores", tasks),
        counts=np.nan_to_num(grid(data, path, "counts", tasks)).astype(int),
        metrics=metrics_of(data, path),
        protocol=dict(field(data, path, "protocol", dict)),
        cost=dict(field(data, path, "cost", dict)),
        experiment=field(data, path, "experiment", str),
        method=field(data, path, "method", str),
        backbone=field(data, path, "backbone", str),
        seed=None if imported and data.get("seed") is None else field(data, path, "seed", int),
        notes=tuple(str(note) for note in field(data, path, "notes", list)),
        variants=variants_in(data, path, tasks),
        differing=differing_in(data, path, tasks),
        judges=judges_in(data, path, tasks),
        published=data.get("published"),
        training=training,
        titles=groups["titles"],
        shorts=groups["short"],
        method_title=data.get("method_title") or method_title(field(data, path, "method", str)),
        bounds=groups["bounds"],
        guesses=groups["guesses"],
        imported=imported,
        versions=dict.fromkeys(tasks, 1) | groups["versions"],
    )
