"""The score of a task over all its records."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    rows: Sequence[Mapping[str, Any]] | None = None,
) -> TaskScore:
    """Score all records of a task.

    Args:
        records: the answers; they are not changed. Each carries its own reference.
        task: task key, see `get_scorer`.
        variant: "corrected" or "reference".
        rows: the data set in file order, if the answers are to be joined to it (see `join_rows`) instead of using
            their own references.

    Raises:
        ConfigError: an unknown task or variant.
        DataError: no records, or a reference that the rule cannot use.
    """
    scorer = get_scorer(task, variant)
    answers = list(records) if rows is None else join_rows(list(records), rows, task, variant)
    if not answers:
        raise DataError(f"{task}: no answers to score; a score over nothing is not defined")
    blank = sum(not record.prediction.strip() for record in answers)
    return summed(task, variant, [scorer.read(record) for record in answers], blank)


def summed(task: str, variant: str, scores: Sequence[float | None], blank: int) -> TaskScore:
    """The score of a task from the scores of its records, None where a rule could not read the prediction."""
    percent = 100.0 * math.fsum(score or 0.0 for score in scores) / len(scores)
    return TaskScore(task, variant, percent, len(scores), list(scores).count(None), blank)


def join_rows(
    records: Sequence[AnswerRecord], rows: Sequence[Mapping[str, Any]], task: str, variant: str = "corrected"
) -> list[AnswerRecord]:
    """Give each answer the reference from its data set row.

    `corrected` joins by question id, and a row without an answer counts as a blank answer. `reference` does as
    CoIN's scripts: ImageNet joins by position and ignores the ids, so that answers in another order score against
    the wrong rows; ScienceQA counts missing answers as wrong; the others score only the rows that were answered.

    Args:
        records: the answers.
        rows: data set rows in file order, each with "question_id" and the reference fields.

    Raises:
        DataError: an answer without a row, two answers or two rows for one id.
    """
    if variant == "reference" and task == "imagenet":
        if len(records) > len(rows):
            raise DataError(
                f"{task}: {len(records)} answers for {len(rows)} rows; the reference rule joins by position"
            )
        return [replace(record, reference=row) for record, row in zip(records, rows, strict=False)]
    by_id = {str(row["question_id"]): row for row in rows}
    answers = {record.question_id: record for record in records}
    problems = [f"{task}, question {key}: answered, but not in the data set" for key in answers if key not in by_id]
    if len(by_id) < len(rows) or len(answers) < len(records):
        problems.append(f"{task}: question ids are not unique ({len(rows)} rows, {len(records)} answers)")
    if problems:
        raise DataError(problems)
    if variant == "corrected" or task == "scienceqa":
        return [_answer_or_blank(answers, key, row, task) for key, row in by_id.items()]
    return [replace(record, reference=by_id[key]) for key, record in answers.items()]


def _answer_or_blank(answers: Mapping[str, AnswerRecord], key: str, row: Mapping[str, Any], task: str) -> AnswerRecord:
    blank = AnswerRecord(task, key, prompt="", prediction="", reference=row)
    return replace(answers.get(key, blank), reference=row)


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

    def score(self, records: Iterable[AnswerRecord], task: str) -> TaskScore:
        """`score_records` in this variant."""
        return score_records(records, task, self.variant)
