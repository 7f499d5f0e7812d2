"""`Scorer`: what gives the answers of a task their score. `RuleScorer`: one exact rule for one record at a time."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import AnswerRecord

Reference = Mapping[str, Any]
Rule = Callable[[str, Reference], float | None]
"""(prediction, reference) -> score in [0, 1], or None where the rule cannot read the prediction, which counts as 0."""

DEFAULT = "corrected"
"""The variant where none is named; runs written before variants had names were scored by it."""


@dataclass(frozen=True)
class TaskScore:
    """What one scorer says of the answers to one task.

    Args:
        score: percent over all records.
        count: number of records.
        unparsable: records that the scorer could not read or that it skips; they score 0.
        each: score of every record as a share of one, None where it could not be read; None as a whole for a metric
            that exists over all records only.
    """

    score: float
    count: int
    unparsable: int = 0
    each: tuple[float | None, ...] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def mean(cls, each: Sequence[float | None]) -> "TaskScore":
        """The mean of the records' scores, None counting as 0."""
        percent = 100.0 * math.fsum(score or 0.0 for score in each) / len(each)
        return cls(percent, len(each), list(each).count(None), tuple(each))


class Scorer(Protocol):
    """What a `scorers` entry of a task's yaml builds, unless it is a `Rule`."""

    def score(self, records: Sequence[AnswerRecord]) -> TaskScore:
        """Score all records of a task together; at least one, and none is changed."""


@dataclass(frozen=True)
class RuleScorer:
    """A rule applied to one record at a time; the score of a task is the mean."""

    task: str
    variant: str
    rule: Rule

    def __call__(self, record: AnswerRecord | Mapping[str, Any]) -> float:
        """Score in [0, 1] of a record, or of a mapping with the same fields; the record is not changed.

        Raises:
            DataError: the prediction is not text, or the reference lacks what the rule needs.
        """
        return self.read(record) or 0.0

    def score(self, records: Sequence[AnswerRecord]) -> TaskScore:
        """Mean over the records, in percent.

        Raises:
            DataError: as calling.
        """
        return TaskScore.mean([self.read(record) for record in records])

    def read(self, record: AnswerRecord | Mapping[str, Any]) -> float | None:
        """Like calling, but None where the rule finds no option letter or box, or skips the sample (OCR-VQA's reference
        rule)."""
        prediction, reference, question = _fields(record)
        if not isinstance(prediction, str):
            raise DataError(f"{self.task}, question {question}: prediction {prediction!r} is not text")
        try:
            return self.rule(prediction, reference)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ConfigError) as error:
            cause = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{self.task}, question {question}: the {self.variant} rule cannot use the reference: {cause}; "
                "compare the sample with the data set's schema"
            ) from error


def _fields(record: AnswerRecord | Mapping[str, Any]) -> tuple[Any, Reference, str]:
    if isinstance(record, AnswerRecord):
        return record.prediction, record.reference, record.question_id
    absent = [name for name in ("prediction", "reference") if name not in record]
    if absent:
        raise DataError(
            f"question {record.get('question_id', '?')}: the record has no field {' and no field '.join(absent)}"
        )
    return record["prediction"], record["reference"], str(record.get("question_id", "?"))
