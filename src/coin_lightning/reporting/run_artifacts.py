"""A run folder as typed values: scores, costs, routing and answers of every finished experience."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from coin_lightning.errors import ConfigError, RunError
from coin_lightning.evaluation.run_scoring import config_of, scoring_in, task_in
from coin_lightning.evaluation.scorer import DEFAULT
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.side_by_side import answered
from coin_lightning.reporting.json_fields import field, read_json_lines
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix, no_folder
from coin_lightning.run_files import read_json


@dataclass(frozen=True)
class TrainCost:
    """What the training of one experience took; seconds, bytes."""

    task: str
    steps: int
    samples: int
    tokens: int
    seconds: float
    loss_first: float
    loss_last: float
    trainable_parameters: int
    checkpoint_bytes: int
    peak_memory_bytes: int

    @property
    def samples_per_second(self) -> float:
        """Training samples per second; 0 when no time was measured."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class EvaluationCost:
    """How the suite was answered after one experience."""

    task: str
    scorer: str
    seconds: float
    answers: int


Cost = TypeVar("Cost", TrainCost, EvaluationCost)


@dataclass(frozen=True)
class RouterLoad:
    """Mean gate of every expert.

    Attributes:
        task: the task after whose training it was measured.
        layers: L module names.
        tasks: N evaluated tasks.
        load: ``[N, L, E]``, the last axis sums to 1.
        titles: of the tasks, for readers.
    """

    task: str
    layers: tuple[str, ...]
    tasks: tuple[str, ...]
    load: np.ndarray
    titles: tuple[str, ...]


@dataclass(frozen=True)
class RunArtifacts:
    """Everything a report needs. Rows are numbered as in the matrix: 0 is zero-shot, k is after task k."""

    path: Path
    matrix: RunMatrix
    environment: dict[str, Any]

    @property
    def finished(self) -> list[int]:
        """Rows that are in the matrix."""
        return self.matrix.filled

    @cached_property
    def training(self) -> dict[int, TrainCost]:
        """Row -> training cost, for every finished experience; nobody knows that of an imported run.

        Raises:
            RunError: a ``train.json`` is missing or garbled.
        """
        rows = [] if self.matrix.imported else self.finished
        return {k: _cost(TrainCost, self.folder(k) / "train.json") for k in rows if k > 0}

    @cached_property
    def evaluation(self) -> dict[int, EvaluationCost]:
        """Row -> evaluation cost, zero-shot included; nobody knows that of an imported run.

        Raises:
            RunError: a ``scores.json`` is missing or garbled.
        """
        rows = [] if self.matrix.imported else self.finished
        return {k: _cost(EvaluationCost, self.folder(k) / "scores.json") for k in rows}

    @cached_property
    def router(self) -> RouterLoad | None:
        """The latest router load, or None for an adapter without a router.

        Raises:
            RunError: the file is garbled.
        """
        files = [self.folder(k) / "router.json" for k in reversed(self.finished)]
        found = next((file for file in files if file.exists()), None)
        return (
            None
            if found is None
            else _router_load(found, self.task(int(found.parent.name.split("_")[1])), self.matrix.title)
        )

    @property
    def scorer(self) -> str:
        """Variant of the tasks' scorers that fills the matrix."""
        if self.matrix.last < 0:
            return DEFAULT
        file = self.folder(self.matrix.last) / "scores.json"
        return str(field(read_json(file), file, "scorer", str))

    def scoring(self, task: str) -> Scoring:
        """How answers to ``task`` are scored.

        Raises:
            ConfigError: a scorer of the task's yaml cannot be built.
            RunError: ``config.yaml`` cannot be read.
        """
        try:
            return scoring_in(self._config, task)
        except ConfigError as error:
            raise ConfigError(f"{self.path / 'config.yaml'}: {error}") from error

    def scorers(self, task: str) -> Any:
        """What ``config.yaml`` says of the scorers of ``task``, as it stands there; None where it says nothing.

        Raises:
            RunError: ``config.yaml`` cannot be read.
        """
        return task_in(self._config, task).get("scorers")

    @cached_property
    def _config(self) -> dict[str, Any]:
        return config_of(self.path)

    def task(self, row: int) -> str:
        """Name of the row: ``zero_shot`` or a task."""
        return self.matrix.rows[row]

    @classmethod
    def of(cls, matrix: RunMatrix) -> "RunArtifacts":
        """The other files of a run whose matrix is there already.

        Raises:
            RunError: it is a matrix by itself, or ``environment.json`` is garbled.
        """
        if matrix.folder is None:
            raise RunError(f"{matrix.experiment} (seed {matrix.seed}): a matrix.json by itself; name the run folder.")
        environment = matrix.folder / "environment.json"  # missing after a repair: pages then say less
        return cls(matrix.folder, matrix, _environment(environment) if environment.exists() else {})

    def folder(self, row: int) -> Path:
        """Folder of one experience, e.g. ``task_01_scienceqa``."""
        return self.path / f"task_{row:02d}_{self.task(row)}"

    def has_answers(self, row: int, task: str) -> bool:
        """Whether the answers of a cell should be there: of an imported run there may be the score alone."""
        if not self.matrix.imported:
            return True
        return row in self.finished and task in answered(read_json(self.folder(row) / "scores.json"))

    def records(self, row: int, task: str) -> list[dict[str, Any]]:
        """Answers on ``task`` after experience ``row``, in file order.

        Raises:
            RunError: the file is missing, a line is not JSON, or a record lacks a field.
        """
        path = self.folder(row) / "records" / f"{task}.jsonl"
        records = read_json_lines(path)
        for number, record in enumerate(records, start=1):
            for key, kind in (("prompt", str), ("prediction", str), ("reference", dict)):
                field(record, Path(f"{path}: record {number}"), key, kind)
            if "question_id" not in record:
                raise RunError(f"{path}: record {number} has no field 'question_id'.")
        return records

    def image_folder(self, task: str) -> Path | None:
        """Folder that ``reference["image"]`` is relative to, when it is known and on this machine."""
        folder = self.environment.get("data", {}).get(task, {}).get("folder")
        return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None


def load_run(run_dir: Path | str) -> RunArtifacts:
    """Open a run folder, finished or not.

    Raises:
        RunError: the folder, ``matrix.json`` is missing or garbled, or ``environment.json`` is garbled.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise no_folder(path)
    return RunArtifacts.of(load_matrix(path))


def _environment(path: Path) -> dict[str, Any]:
    content = read_json(path)
    groups = {key: field(content, path, key, dict) for key in ("machine", "versions", "data") if key in content}
    for task in (data := groups.get("data", {})):
        entry = field(data, path, task, dict)
        if entry.get("sha256"):
            field(entry, path, "sha256", dict)
    return content


def _cost(kind: type[Cost], path: Path) -> Cost:
    content = read_json(path)
    return kind(**{key: of(field(content, path, key, of)) for key, of in get_type_hints(kind).items()})


def _router_load(path: Path, after: str, title: Callable[[str], str]) -> RouterLoad:
    content = read_json(path)
    experts = field(content, path, "num_experts", int)
    layers = field(content, path, "layers", list)
    load = field(content, path, "load", dict)
    try:
        values = np.array([load[task] for task in load], dtype=float).reshape(len(load), len(layers), experts)
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: field 'load' must hold {len(layers)} rows of {experts} numbers per task.") from error
    names = tuple(str(name) for name in layers)
    return RouterLoad(after, names, tuple(load), values, tuple(map(title, load)))
