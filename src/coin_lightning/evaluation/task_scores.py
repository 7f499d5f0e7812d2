"""The score of a task over all its records."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coin_lightning.errors import DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import VARIANTS, Scorer
from coin_lightning.evaluation.scorers import get_scorer


@dataclass(frozen=True)
class TaskScore:
    """What one evaluation of one task gave.

    Args:
        task: task key. variant: "corrected" or "reference".
        score: mean over all records, percent.
        count: number of records, the divisor.
        unparsable: records in which the rule found no option letter or box (or which it skips, OCR-VQA's reference
            rule); they score 0.
        blank: records whose prediction is empty or white space.
    """

    task: str
    variant: str
    score: float
    count: int
    unparsable: int
    blank: int


def score_records(
    records: Iterable[AnswerRecord],
    task: str,
    variant: str = "corrected",
) -> TaskScore:
    """Score all records of a task.

    Args:
        records: the answers; they are not changed. Each carries its own reference.
        task: task key, see `get_scorer`.
        variant: "corrected" or "reference".

    Raises:
        ConfigError: an unknown task or variant.
        DataError: no records, or a reference that the rule cannot use.
    """
    scorer = get_scorer(task, variant)
    answers = list(records)
    if not answers:
        raise DataError(f"{task}: no answers to score; a score over nothing is not defined")
    blank = sum(not record.prediction.strip() for record in answers)
    return summed(task, variant, [scorer.read(record) for record in answers], blank)


def summed(task: str, variant: str, scores: Sequence[float | None], blank: int) -> TaskScore:
    """The score of a task from the scores of its records, None where a rule could not read the prediction."""
    percent = 100.0 * math.fsum(score or 0.0 for score in scores) / len(scores)
    return TaskScore(task, variant, percent, len(scores), list(scores).count(None), blank)


class Scoring:
    """One variant for every task: what a Hydra config names (`_target_:
    coin_lightning.evaluation.task_scores.Scoring`).

    Raises:
        ConfigError: an unknown variant.
    """

    def __init__(self, variant: str = VARIANTS[0]) -> None:
        get_scorer("gqa", variant)  # refuses an unknown variant when the config is bound, not after training
        self.variant = variant

    def scorer(self, task: str) -> Scorer:
        """The rule of a task in this variant."""
        return get_scorer(task, self.variant)
