"""Scoring a stand-in for every answer before anything is computed: no run stops later at what its rules cannot use."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.evaluation.judges.truth import ground_truth
from coin_lightning.evaluation.records import AnswerRecord, record_line
from coin_lightning.evaluation.scorer import Reference, Scorer
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.tasks.sample_format import TestSample
from coin_lightning.tasks.sample_sequence import as_samples

ANSWER, BOX = "A", "[0.10,0.10,0.90,0.90]"
"""Predictions that every rule reads to the end: an option letter that is a word too, and a box."""


def unusable(scoring: Scoring, samples: Sequence[TestSample], references: Sequence[Reference]) -> list[str]:
    """What the rules of a task, the judges and the files of a run cannot use, each with its sample.

    Args:
        scoring: of the task.
        samples: the test samples.
        references: theirs.
    """
    uses: list[Any] = [partial(_scored, each) for each in scoring.scorers.values()] + [ground_truth, record_line]
    table, problems = as_samples(samples), []
    for index, (id_, reference) in enumerate(zip(table.ids, references, strict=True)):
        record = AnswerRecord(scoring.task, id_, "", BOX if "answer_bbox" in reference else ANSWER, reference)
        problems += [f"{table.where(index)}: {line}" for use in uses for line in _reasons(use, record)]
    return problems


def _reasons(use: Any, record: AnswerRecord) -> list[str]:
    try:
        use(record)
    except DataError as error:
        return error.problems
    return []


def _scored(scorer: Scorer, record: AnswerRecord) -> None:
    scorer.score([record])
