"""What a judge takes from a record: the ground truth, and the answer as text."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.evaluation.boxes import answer_box
from coin_lightning.evaluation.records import AnswerRecord


def is_box(reference: Mapping[str, Any]) -> bool:
    """Whether the answer is a bounding box."""
    return "answer_bbox" in reference


def ground_truth(record: AnswerRecord) -> str:
    """The answer that a judge compares with: the sample's box, its one answer, or else what most annotators said.

    Raises:
        DataError: the sample has none of them.
    """
    reference = record.reference
    if is_box(reference):
        return str(reference["answer_bbox"])
    answer = reference.get("answer")
    if isinstance(answer, str | int | float) and str(answer).strip():
        return str(answer)
    answers = [str(each) for each in reference.get("answers") or () if str(each).strip()]
    if not answers:
        raise DataError(
            f"{record.task}, question {record.question_id}: the sample has no 'answer' to judge by; compare it with "
            "the data set's schema"
        )
    return Counter(answers).most_common(1)[0][0]


def shown_answer(record: AnswerRecord) -> str:
    """The answer as text; a box that its model writes in a format of its own becomes "[x1,y1,x2,y2]" like the truth."""
    formatted = is_box(record.reference) and "box_format" in record.reference
    box = answer_box(record.prediction, record.reference) if formatted else None
    return record.prediction if box is None else "[" + ",".join(f"{value:.2f}" for value in box) + "]"
