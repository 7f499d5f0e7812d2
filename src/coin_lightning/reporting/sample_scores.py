"""Scores of single samples, out of the records of a run: what averages hide and what tests need."""

from dataclasses import dataclass, field

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.evaluation.records import AnswerRecord, read_records
from coin_lightning.evaluation.scorer import DEFAULT
from coin_lightning.metrics.flips import Flips, flips
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.run_files import read_json


@dataclass(frozen=True)
class Questions:
    """The test samples of a task, and the rule they are scored by; runs are paired where these are equal.

    Attributes:
        ids: of the samples. images: that each shows; a sample without one stands for itself.
        options: number of choices of each; None for a task that has questions without any.
        rule: variant and version of the task's scorers.
    """

    ids: tuple[str, ...]
    images: tuple[str, ...]
    options: tuple[int, ...] | None
    rule: tuple[str, int]


@dataclass(frozen=True)
class SampleScores:
    """Answers to a task after one experience: its questions, `scores` [N] in percent, and which answers [N] the rule
    could read: others name no option, or no box."""

    questions: Questions
    scores: np.ndarray
    readable: np.ndarray


@dataclass
class SampleReader:
    """Reads and scores records, each file once; to be kept as long as one page is made."""

    _runs: dict[int, tuple[RunMatrix, RunArtifacts]] = field(default_factory=dict)
    _cells: dict[tuple[int, int, str], SampleScores | None] = field(default_factory=dict)
    _questions: dict[Questions, Questions] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunArtifacts) -> "SampleReader":
        """A reader that knows a run already, so that its config is read once."""
        return cls({id(run.matrix): (run.matrix, run)})

    def __call__(self, run: RunMatrix, row: int, task: str) -> SampleScores | None:
        """Scores after experience `row` by the run's own rules; None for a metric that exists over all answers only.

        Raises:
            RunError: the run has no records, or their scores are not those of its matrix.
            DataError: records are garbled.
        """
        key = (id(run), row, task)
        if key not in self._cells:
            if id(run) not in self._runs:
                self._runs[id(run)] = (run, RunArtifacts.of(run))  # the run is kept so that its id stays its own
            self._cells[key] = self._read(self._runs[id(run)][1], row, task)
        return self._cells[key]

    def _read(self, run: RunArtifacts, row: int, task: str) -> SampleScores | None:
        folder, scoring = run.folder(row), run.scoring(task)
        variant = read_json(folder / "scores.json").get("scorer", DEFAULT)
        records = read_records(folder / "records" / f"{task}.jsonl")
        found = scoring.scorer(variant).score(records)
        if found.each is None:
            return None
        expected = run.matrix.scores[row, run.matrix.tasks.index(task)]
        if not abs(found.score - expected) <= 1e-6:  # a missing cell is none either
            raise RunError(
                f"{folder}: the answers to {task} score {found.score:.2f} by today's {variant} rule, matrix.json says "
                f"{expected:.2f}; score the run again: python -m coin_lightning score {run.path}"
            )
        questions = _questions(records, (variant, run.matrix.versions.get(task, 1)))
        scores = np.array([100 * (score or 0.0) for score in found.each])
        readable = np.array([score is not None for score in found.each])
        return SampleScores(self._questions.setdefault(questions, questions), scores, readable)

    def flips(self, run: RunMatrix, task: str, before: int, after: int) -> Flips | None:
        """Flips on a task between two experiences; None where a cell is missing or has no scores of single samples.

        Raises:
            RunError, DataError: as calling; or the two have other questions.
        """
        if np.isnan(run.scores[[before, after], run.tasks.index(task)]).any():
            return None
        first, later = self(run, before, task), self(run, after, task)
        if first is None or later is None:
            return None
        if first.questions != later.questions:
            raise RunError(f"{run.folder}: {task} has other questions after {run.rows[after]} than after "
                           f"{run.rows[before]}; restore the records, or evaluate again")  # fmt: skip
        return flips(first.scores, later.scores, first.questions.options, first.readable & later.readable)


def _questions(records: list[AnswerRecord], rule: tuple[str, int]) -> Questions:
    options = tuple(len(record.reference.get("choices") or ()) for record in records)
    return Questions(
        tuple(record.question_id for record in records),
        tuple(str(record.reference.get("image") or record.question_id) for record in records),
        options if min(options, default=0) > 1 else None,
        rule,
    )


def with_records(run: RunMatrix) -> bool:
    """Whether the answers of a run are there."""
    last = run.folder is not None and run.last >= 0 and RunArtifacts(run.folder, run, {}).folder(run.last)
    return bool(last and (last / "records").is_dir())
