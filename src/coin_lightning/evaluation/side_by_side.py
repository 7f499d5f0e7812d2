"""Both variants of every rule on the same answers: two scores, and the rows on which they differ."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.evaluation.breakdown import Part, breakdown
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import VARIANTS, Reference
from coin_lightning.evaluation.scorers import get_scorer
from coin_lightning.evaluation.task_scores import TaskScore, summed


@dataclass(frozen=True)
class RowDifference:
    """A row that the two rules score differently; scores in [0, 1]."""

    question_id: str
    prediction: str
    truth: str
    corrected: float
    reference: float

    def to_json(self) -> dict[str, Any]:
        """The fields under the names of `differences.jsonl`."""
        return {
            "question_id": self.question_id,
            "prediction": self.prediction,
            "reference_answer": self.truth,
            "corrected_score": self.corrected,
            "reference_score": self.reference,
        }


@dataclass(frozen=True)
class BothScores:
    """One task's answers under both variants.

    Attributes:
        by_variant: score in percent with its counts, in the order of `VARIANTS`.
        breakdown: by variant, part -> score and count (see `breakdown.PARTS`); empty for tasks without parts.
        differences: rows whose two scores are not equal, in the order of the records.
    """

    by_variant: Mapping[str, TaskScore]
    breakdown: Mapping[str, Mapping[str, Part]]
    differences: tuple[RowDifference, ...]


def score_both(records: Sequence[AnswerRecord], task: str) -> BothScores:
    """Score all records of a task by both variants.

    Raises:
        ConfigError: an unknown task.
        DataError: no records, or a reference that one of the rules cannot use.
    """
    if not records:
        raise DataError(f"{task}: no answers to score; a score over nothing is not defined")
    first, second = (get_scorer(task, variant) for variant in VARIANTS)
    pairs = [(first.read(record), second.read(record)) for record in records]
    blank = sum(not record.prediction.strip() for record in records)
    parts = breakdown(task, (record.reference for record in records), pairs)
    return BothScores(
        {name: summed(task, name, [pair[at] for pair in pairs], blank) for at, name in enumerate(VARIANTS)},
        dict(zip(VARIANTS, parts, strict=True)),
        tuple(
            RowDifference(record.question_id, record.prediction, shown_truth(record.reference), a or 0.0, b or 0.0)
            for record, (a, b) in zip(records, pairs, strict=True)
            if (a or 0.0) != (b or 0.0)
        ),
    )


def shown_truth(reference: Reference) -> str:
    """What a row holds to be right, in one line: the answer, the annotators' answers with their number, or the box."""
    answers = reference.get("answers")
    if isinstance(answers, Sequence) and not isinstance(answers, str) and answers:
        return ", ".join(f"{answer} x{count}" for answer, count in Counter(map(str, answers)).most_common())
    return str(reference.get("answer", reference.get("answer_bbox", "")))


def score_fields(results: Mapping[str, BothScores], primary: str) -> dict[str, Any]:
    """What `scores.json` holds of an evaluation: the primary variant's numbers, and beside them both variants.

    Args:
        results: by task, in scenario order.
        primary: the variant that fills the score matrix.
    """
    variants = {variant: _variant(results, variant) for variant in VARIANTS}
    own = variants[primary]
    return {
        "scores": own["scores"],
        "counts": {task: both.by_variant[primary].count for task, both in results.items()},
        "unparsable": own["unparsable"],
        "blank": own["blank"],
        "variants": variants,
        "differing": {task: len(both.differences) for task, both in results.items()},
        "breakdown": own["breakdown"],
    }


def _variant(results: Mapping[str, BothScores], variant: str) -> dict[str, Any]:
    scores = {task: both.by_variant[variant] for task, both in results.items()}
    return {
        "scores": {task: score.score for task, score in scores.items()},
        "unparsable": {task: score.unparsable for task, score in scores.items()},
        "blank": {task: score.blank for task, score in scores.items()},
        "breakdown": {task: dict(both.breakdown[variant]) for task, both in results.items() if both.breakdown[variant]},
    }


@dataclass(frozen=True)
class VariantRow:
    """A task in a table of both variants; percent, None where it was not scored by that variant."""

    task: str
    corrected: float | None
    reference: float | None
    differing: int | None
    count: int | None

    @property
    def difference(self) -> float | None:
        """Reference minus corrected, in points."""
        return None if self.corrected is None or self.reference is None else self.reference - self.corrected


def variant_rows(scores: Mapping[str, Any], tasks: Sequence[str]) -> list[VariantRow]:
    """Table of both variants out of a `scores.json`; of one written before both were kept, its own variant only.

    Args:
        scores: content of `scores.json`.
        tasks: rows of the table, in their order; those that were not evaluated are left out.
    """
    variants = scores.get("variants") or {scores.get("scorer", VARIANTS[0]): {"scores": scores.get("scores", {})}}
    found = [variants.get(variant, {}).get("scores", {}) for variant in VARIANTS]
    differing, counts = scores.get("differing", {}), scores.get("counts", {})
    return [
        VariantRow(task, found[0].get(task), found[1].get(task), differing.get(task), counts.get(task))
        for task in tasks
        if any(task in column for column in found)
    ]
