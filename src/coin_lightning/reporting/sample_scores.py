"""Scores of single samples, out of the records of a run: what averages hide and what tests need."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.scored_lines import LineReader, ScoredLine
from coin_lightning.evaluation.scorer import DEFAULT, RuleScorer, Scorer, TaskScore
from coin_lightning.evaluation.side_by_side import REFERENCE, UNANSWERED, with_unanswered
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
    _flips: dict[tuple[int, str, int, int], Flips | None] = field(default_factory=dict)
    _written: dict[Path, dict[str, Any]] = field(default_factory=dict)
    _scorers: dict[str, Scorer] = field(default_factory=dict)
    _lines: LineReader = field(default_factory=LineReader)

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
        folder = run.folder(row)
        written = self._scores(folder)
        variant = str(written.get("scorer", DEFAULT))
        scorer, file = self._scorer(run, task, variant), folder / "records" / f"{task}.jsonl"
        if isinstance(scorer, RuleScorer):
            lines = self._lines(file, scorer)
            score = TaskScore.mean([line.score for line in lines]).score
        else:
            records = read_records(file)
            found = scorer.score(records)
            if found.each is None:
                return None
            lines, score = [ScoredLine.of(*each) for each in zip(records, found.each, strict=True)], found.score
        if variant == REFERENCE:
            score = with_unanswered(score, len(lines), written.get(UNANSWERED, {}).get(task, 0))
        expected = run.matrix.scores[row, run.matrix.tasks.index(task)]
        if not abs(score - expected) <= 1e-6:  # a missing cell is none either
            raise RunError(
                f"{folder}: the answers to {task} score {score:.2f} by today's {variant} rule, matrix.json says "
                f"{expected:.2f}; score the run again: python -m coin_lightning score {run.path}"
            )
        questions = _questions(lines, (variant, run.matrix.versions.get(task, 1)))
        scores = np.array([100 * (line.score or 0.0) for line in lines])
        readable = np.array([line.score is not None for line in lines])
        return SampleScores(self._questions.setdefault(questions, questions), scores, readable)

    def _scores(self, folder: Path) -> dict[str, Any]:
        """The `scores.json` of an experience: by which scorers its answers were scored."""
        if folder not in self._written:
            self._written[folder] = read_json(folder / "scores.json")
        return self._written[folder]

    def _scorer(self, run: RunArtifacts, task: str, variant: str) -> Scorer:
        """Built once for all runs whose configs say the same of it."""
        key = repr((task, variant, run.scorers(task)))
        if key not in self._scorers:
            self._scorers[key] = run.scoring(task).scorer(variant)
        return self._scorers[key]

    def flips(self, run: RunMatrix, task: str, before: int, after: int) -> Flips | None:
        """Flips on a task between two experiences; None where a cell is missing or has no scores of single samples.

        Raises:
            RunError, DataError: as calling; or the two have other questions.
        """
        key = (id(run), task, before, after)
        if key not in self._flips:
            self._flips[key] = self._count(run, task, before, after)
        return self._flips[key]

    def _count(self, run: RunMatrix, task: str, before: int, after: int) -> Flips | None:
        column = run.tasks.index(task)
        if np.isnan(run.scores[before, column]) or np.isnan(run.scores[after, column]):
            return None
        first, later = self(run, before, task), self(run, after, task)
        if first is None or later is None:
            return None
        if first.questions != later.questions:
            raise RunError(f"{run.folder}: {task} has other questions after {run.rows[after]} than after "
                           f"{run.rows[before]}; restore the records, or evaluate again")  # fmt: skip
        return flips(first.scores, later.scores, first.questions.options, first.readable & later.readable)


def _questions(lines: Sequence[ScoredLine], rule: tuple[str, int]) -> Questions:
    options = tuple(line.options for line in lines)
    return Questions(
        tuple(line.question_id for line in lines),
        tuple(line.image for line in lines),
        options if min(options, default=0) > 1 else None,
        rule,
    )


def with_records(run: RunMatrix) -> bool:
    """Whether the answers of a run are there; of an imported run, those behind every score."""
    if run.folder is None or run.last < 0:
        return False
    files = RunArtifacts(run.folder, run, {})
    scored = np.argwhere(~np.isnan(run.scores)) if run.imported else ()
    return (files.folder(run.last) / "records").is_dir() and all(
        files.has_answers(int(row), run.tasks[column]) for row, column in scored
    )
