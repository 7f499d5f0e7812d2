"""Parts of ``matrix.json`` beside the run's own scores: the other scoring variant, and what judges say."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.reporting.json_fields import field

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class VariantScores:
    """The score matrix by one variant of the rules: ``scores`` ``[T + 1, T]`` in percent, and its metrics."""

    scores: np.ndarray
    metrics: Metrics


@dataclass(frozen=True)
class JudgeScores:
    """The score matrix by a judge.

    Attributes:
        scores: ``[T + 1, T]`` percent, NaN where nothing was judged or no reply could be read.
        counts: ``[T + 1, T]`` answers judged. unparsed: of these, replies that could not be read.
        metrics: as those of the score matrix.
        protocol: the judge's identity: kind, model, version, temperature, seed, variant, prompt.
    """

    scores: np.ndarray
    counts: np.ndarray
    unparsed: np.ndarray
    metrics: Metrics
    protocol: Mapping[str, Any]

    @property
    def strict(self) -> bool:
        """Whether replies that cannot be read are left out of the scores; the published code counts them as 0."""
        return self.protocol.get("variant") != "reference"


def variants_in(content: Mapping[str, Any], path: Path, tasks: Sequence[str]) -> dict[str, VariantScores]:
    """Variant -> scores; empty for a run made before both were kept.

    Raises:
        RunError: the section is not what the format says.
    """
    sections = content.get("variants") or {}
    return {
        name: VariantScores(grid(section, path, "scores", tasks), metrics_of(section, path))
        for name, section in _objects(sections, path, "variants")
    }


def differing_in(content: Mapping[str, Any], path: Path, tasks: Sequence[str]) -> np.ndarray:
    """``[T + 1, T]`` rows that the two variants score differently, NaN where they were not compared."""
    if not content.get("differing"):
        return np.full((len(tasks) + 1, len(tasks)), np.nan)
    return grid(content, path, "differing", tasks)


def judges_in(content: Mapping[str, Any], path: Path, tasks: Sequence[str]) -> dict[str, JudgeScores]:
    """Judge name -> scores, in the order of the file; empty when nothing was judged.

    Raises:
        RunError: the section is not what the format says.
    """
    sections = content.get("judges") or {}
    return {
        name: JudgeScores(
            # the published reading adds negative replies as they are
            scores=grid(section, path, "scores", tasks, lowest=-math.inf),
            counts=_whole(grid(section, path, "counts", tasks)),
            unparsed=_whole(grid(section, path, "unparsed", tasks)),
            metrics=metrics_of(section, path),
            protocol=field(section, path, "protocol", dict),
        )
        for name, section in _objects(sections, path, "judges")
    }


def grid(content: Mapping[str, Any], path: Path, key: str, tasks: Sequence[str], lowest: float = 0.0) -> np.ndarray:
    """A table of T + 1 rows of T cells; null becomes NaN.

    Raises:
        RunError: another shape, or a cell that is no finite number from ``lowest`` on.
    """
    rows = field(dict(content), path, key, list)
    if len(rows) != len(tasks) + 1 or any(not isinstance(row, list) or len(row) != len(tasks) for row in rows):
        raise RunError(f"{path}: field '{key}' must have {len(tasks) + 1} rows of {len(tasks)} cells.")
    for j, row in enumerate(rows):
        for i, cell in enumerate(row):
            if not _is_cell(cell, lowest):
                least = "a number from 0" if lowest == 0 else "a number"
                raise RunError(f"{path}: {key}[{j}][{i}] ({tasks[i]}) is {cell!r}, expected {least} or null.")
    return np.array([[np.nan if cell is None else float(cell) for cell in row] for row in rows])


def metrics_of(content: Mapping[str, Any], path: Path) -> Metrics:
    """The ``metrics`` field: key -> number or None.

    Raises:
        RunError: a value is neither.
    """
    metrics = field(dict(content), path, "metrics", dict)
    for key, value in metrics.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RunError(f"{path}: metrics['{key}'] is {value!r}, expected a number or null.")
    return {key: None if value is None else float(value) for key, value in metrics.items()}


def _objects(sections: Any, path: Path, key: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise RunError(f"{path}: field '{key}' must hold an object of objects; re-score or judge the run again.")
    return list(sections.items())


def _is_cell(cell: Any, lowest: float) -> bool:
    if cell is None:
        return True
    return isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell) and cell >= lowest


def _whole(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values).astype(int)
