"""The exact rules of CoIN's eight tasks, each in two variants.

`reference` does what CoIN's released scripts do, oddities included, so that published numbers can be compared.
`corrected` (default) is the rule that was meant: text in a common form (`normalize_answer`), boxes and option
letters read properly, and a blank answer is wrong everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.answer_text import evalai_normalize, normalize_answer
from coin_lightning.evaluation.boxes import box_iou, clip_to_frame, parse_box, reference_box, reference_iou
from coin_lightning.evaluation.option_letters import named_option, reference_option
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.vqa_accuracy import ANNOTATORS, soft_accuracy

Reference = Mapping[str, Any]
Rule = Callable[[str, Reference], float | None]
"""(prediction, reference) -> score in [0, 1], or None where the rule cannot read the prediction, which counts as 0."""

VARIANTS = ("corrected", "reference")
IOU_THRESHOLD = 0.5  # to be exceeded, as in CoIN, MiniGPT-v2


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
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            cause = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{self.task}, question {question}: the {self.variant} rule cannot use the reference: {cause}; "
                "compare the row with the data set's schema"
            ) from error


def get_scorer(task: str, variant: str = "corrected") -> Scorer:
    """The rule of a task.

    Args:
        task: scienceqa, textvqa, imagenet, gqa, vizwiz, grounding, vqav2 or ocrvqa; another task may borrow one of
            these rules.
        variant: "corrected" or "reference".

    Raises:
        ConfigError: an unknown task or variant.
    """
    if variant not in VARIANTS:
        raise ConfigError(_unknown("scorer variant", variant, VARIANTS))
    if task not in RULES:
        raise ConfigError(_unknown("scorer for task", task, tuple(RULES)))
    return Scorer(task, variant, RULES[task][VARIANTS.index(variant)])


def _unknown(what: str, name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(str(name).lower(), known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no {what} {name!r}{hint} (known: {', '.join(known)})"


def _fields(record: AnswerRecord | Mapping[str, Any]) -> tuple[Any, Reference, str]:
    if isinstance(record, AnswerRecord):
        return record.prediction, record.reference, record.question_id
    absent = [name for name in ("prediction", "reference") if name not in record]
    if absent:
        raise DataError(
            f"question {record.get('question_id', '?')}: the record has no field {' and no field '.join(absent)}"
        )
    return record["prediction"], record["reference"], str(record.get("question_id", "?"))


def exact_corrected(prediction: str, reference: Reference) -> float:
    """1 if both have the same `normalize_answer` form (GQA, OCR-VQA; VQAv2 and VizWiz without ten answers)."""
    return float(prediction.strip() != "" and normalize_answer(prediction) == normalize_answer(reference["answer"]))


def soft_corrected(prediction: str, reference: Reference) -> float:
    """VQA soft accuracy over ten `answers` in `normalize_answer` form; 0 for a blank answer."""
    score = soft_accuracy(prediction, reference["answers"], normalize_answer)
    return score if prediction.strip() else 0.0


def vqa_corrected(prediction: str, reference: Reference) -> float:
    """`soft_corrected` where the row has ten annotators, `exact_corrected` against `answer` where it has one answer."""
    if len(reference.get("answers") or ()) == ANNOTATORS:
        return soft_corrected(prediction, reference)
    return exact_corrected(prediction, reference)


def soft_reference(prediction: str, reference: Reference) -> float:
    """TextVQA: soft accuracy with EvalAI's processor (m4c_evaluator.py)."""
    return soft_accuracy(prediction, reference["answers"], evalai_normalize)


def upper_reference(prediction: str, reference: Reference) -> float:
    """VizWiz, VQAv2: upper-cased text equals the one `answer`; annotators, punctuation and spaces are not looked at."""
    return float(prediction.upper() == reference["answer"].upper())


def gqa_reference(prediction: str, reference: Reference) -> float:
    """GQA: the prediction without trailing points, lower-cased, equals the answer as written."""
    return float(prediction.rstrip(".").lower() == reference["answer"])


def ocrvqa_reference(prediction: str, reference: Reference) -> float | None:
    """OCR-VQA: lower-cased text is equal; a prediction containing "Unanswerable" is skipped but stays in the
    denominator."""
    if "Unanswerable" in prediction:
        return None
    return float(prediction.lower() == reference["answer"].lower())


def imagenet_corrected(prediction: str, reference: Reference) -> float:
    """ImageNet: the label in `normalize_answer` form, or one of its comma-separated synonyms; no substrings."""
    label = reference["answer"]
    accepted = {normalize_answer(name) for name in (label, *label.split(",")) if name.strip()}
    return float(prediction.strip() != "" and normalize_answer(prediction) in accepted)


def imagenet_reference(prediction: str, reference: Reference) -> float:
    """ImageNet: label in prediction or prediction in label, case-sensitive; so the empty answer is right."""
    label = reference["answer"]
    return float(label in prediction or prediction in label)


def scienceqa_corrected(prediction: str, reference: Reference) -> float | None:
    """ScienceQA: `named_option` is the right one."""
    return _right_option(named_option(prediction, reference["choices"]), reference)


def scienceqa_reference(prediction: str, reference: Reference) -> float | None:
    """ScienceQA: `reference_option` is the right one."""
    return _right_option(reference_option(prediction, reference["choices"]), reference)


def _right_option(named: int | None, reference: Reference) -> float | None:
    right = int(reference["answer_index"])
    return None if named is None else float(named == right)


def grounding_corrected(prediction: str, reference: Reference) -> float | None:
    """Grounding: IoU with `answer_bbox` above 0.5. The predicted box is clipped to the picture; swapped corners have
    no area."""
    truth = parse_box(reference["answer_bbox"])
    if truth is None:
        raise ValueError(f"answer_bbox {reference['answer_bbox']!r} is not four numbers")
    box = parse_box(prediction)
    # Rounding keeps "exactly one half is not above it" true for boxes of two decimals.
    return None if box is None else float(round(box_iou(clip_to_frame(box), truth), 9) > IOU_THRESHOLD)


def grounding_reference(prediction: str, reference: Reference) -> float | None:
    """Grounding: IoU above 0.5 of the box that `reference_box` reads, computed in pixels of the longer side."""
    parts = reference["answer_bbox"].replace("[", "").replace("]", "").split(",")
    x1, y1, x2, y2 = (float(part) for part in parts)
    box = reference_box(prediction)
    return (
        None
        if box is None
        else float(reference_iou(box, (x1, y1, x2, y2), max(reference.get("size", (1,)))) > IOU_THRESHOLD)
    )


RULES: dict[str, tuple[Rule, Rule]] = {
    "scienceqa": (scienceqa_corrected, scienceqa_reference),
    "textvqa": (soft_corrected, soft_reference),
    "imagenet": (imagenet_corrected, imagenet_reference),
    "gqa": (exact_corrected, gqa_reference),
    "vizwiz": (vqa_corrected, upper_reference),
    "grounding": (grounding_corrected, grounding_reference),
    "vqav2": (vqa_corrected, upper_reference),
    "ocrvqa": (exact_corrected, ocrvqa_reference),
}
"""Task -> rules in the order of `VARIANTS`."""
