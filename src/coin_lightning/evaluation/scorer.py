"""`Scorer`: one exact rule, applied to one record at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import AnswerRecord

Reference = Mapping[str, Any]
Rule = Callable[[str, Reference], float | None]
"""(prediction, reference) -> score in [0, 1], or None where the rule cannot read the prediction, which counts as 0."""

VARIANTS = ("corrected", "reference")


@dataclass(frozen=True)
class Scorer:
    """Scores one record at a time; made by `get_scorer`."""

    task: str
    variant: str
    rule: Rule

    def __call__(self, record: AnswerRecord | Mapping[str, Any]) -> float:
        """Score in [0, 1] of a record, or of a mapping with the same fields; the record is not changed.

        Raises:
            DataError: the prediction is not text, or the reference lacks what the rule needs.
        """
        return self.read(record) or 0.0

    def read(self, record: AnswerRecord | Mapping[str, Any]) -> float | None:
        """Like calling, but None where the rule finds no option letter or box, or skips the row (OCR-VQA's reference
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
                "compare the row with the data set's schema"
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
