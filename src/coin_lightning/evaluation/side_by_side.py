"""All variants of a task's scorers on the same answers: their scores, and the samples on which they differ."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.evaluation.breakdown import Part, breakdown
from coin_lightning.evaluation.guessing import Guess, best_guess
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import DEFAULT, Reference, TaskScore
from coin_lightning.evaluation.scorers import Scoring

ADDED = ("seconds", "answers")
"""Fields of a `scores.json` of which the parts of an evaluation are added up."""
WITHOUT_ANSWERS = "without_answers"
"""Field of a `scores.json` of an imported run: tasks of which only the score was kept."""
UNANSWERED = "unanswered"
"""Field of a `scores.json` of an imported run: questions without an answer that `REFERENCE` counts as wrong."""
REFERENCE = "reference"
"""The variant of the rules by which CoIN's scripts score."""


@dataclass(frozen=True)
class SampleDifference:
    """A sample that the variants score differently; `scores` by variant, as shares of one."""

    question_id: str
    prediction: str
    truth: str
    scores: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The fields under the names of `differences.jsonl`."""
        return {
            "question_id": self.question_id,
            "prediction": self.prediction,
            "reference_answer": self.truth,
            **{f"{variant}_score": score for variant, score in self.scores.items()},
        }


@dataclass(frozen=True)
class CellScores:
    """One task's answers under all variants.

    Attributes:
        by_variant: score in percent with its counts, in the order of the task's yaml.
        breakdown: by variant, part -> score and count; empty for tasks without parts.
        differences: samples that the variants score differently, in the order of the records. Variants that are no
            mean over records are left out.
        blank: records whose prediction is empty or white space.
        version: of the scorers.
        guesses: by variant, what the same questions give without looking; where it was asked for.
    """

    by_variant: Mapping[str, TaskScore]
    breakdown: Mapping[str, Mapping[str, Part]]
    differences: tuple[SampleDifference, ...]
    blank: int
    version: int
    guesses: Mapping[str, Guess] = field(default_factory=dict)


def score_all(records: Sequence[AnswerRecord], scoring: Scoring, guesses: bool = False) -> CellScores:
    """Score all records of a task by every variant; with `guesses`, see `best_guess`.

    Raises:
        DataError: no records, or a reference that one of the scorers cannot use.
    """
    if not records:
        raise DataError(f"{scoring.task}: no answers to score; a score over nothing is not defined")
    scores = {variant: scorer.score(records) for variant, scorer in scoring.scorers.items()}
    references = [record.reference for record in records]
    return CellScores(
        scores,
        {variant: breakdown(scoring.parts, references, score.each) for variant, score in scores.items()},
        tuple(_differences(records, {name: score.each for name, score in scores.items() if score.each is not None})),
        sum(not record.prediction.strip() for record in records),
        scoring.version,
        _guesses(records, scoring) if guesses else {},
    )


def over_the_split(cell: CellScores, unanswered: int) -> CellScores:
    """With a reference score that counts further questions as wrong, as ScienceQA's script does with those that have no
    answer; all else stays that of the answers."""
    found = cell.by_variant.get(REFERENCE)
    if found is None or not unanswered:
        return cell
    whole = replace(found, score=with_unanswered(found.score, found.count, unanswered))
    return replace(cell, by_variant={**cell.by_variant, REFERENCE: whole})


def with_unanswered(score: float, answers: int, unanswered: int) -> float:
    """A mean score over so many answers, with further questions that are wrong for want of one."""
    return score * answers / (answers + unanswered)


def _guesses(records: Sequence[AnswerRecord], scoring: Scoring) -> dict[str, Guess]:
    found = {variant: best_guess(records, scorer) for variant, scorer in scoring.scorers.items()}
    return {variant: guess for variant, guess in found.items() if guess is not None}


def _differences(
    records: Sequence[AnswerRecord], each: Mapping[str, Sequence[float | None]]
) -> Iterable[SampleDifference]:
    for record, *scores in zip(records, *each.values(), strict=True):
        values = [score or 0.0 for score in scores]
        if len(set(values)) > 1:
            found = dict(zip(each, values, strict=True))
            yield SampleDifference(record.question_id, record.prediction, shown_truth(record.reference), found)


def shown_truth(reference: Reference) -> str:
    """What a sample holds to be right, in one line: the answer, the annotators' answers with their number, or the
    box."""
    answers = reference.get("answers")
    if isinstance(answers, Sequence) and not isinstance(answers, str) and answers:
        return ", ".join(f"{answer} x{count}" for answer, count in Counter(map(str, answers)).most_common())
    return str(reference.get("answer", reference.get("answer_bbox", "")))


def score_fields(results: Mapping[str, CellScores], primary: str) -> dict[str, Any]:
    """What `scores.json` holds of an evaluation: the primary variant's numbers, and beside them those of all variants.

    Args:
        results: by task, in scenario order.
        primary: the variant that fills the score matrix; every task has it.
    """
    names = in_order(cell.by_variant for cell in results.values())
    variants = {variant: _variant(results, variant) for variant in names}
    own = variants[primary]
    return {
        "scores": own["scores"],
        "counts": {task: cell.by_variant[primary].count for task, cell in results.items()},
        "versions": {task: cell.version for task, cell in results.items()},
        "unparsable": own["unparsable"],
        "blank": own["blank"],
        "variants": variants,
        "differing": {task: len(cell.differences) for task, cell in results.items()},
        "breakdown": own["breakdown"],
        **({"guesses": own["guesses"]} if "guesses" in own else {}),
    }


def _variant(results: Mapping[str, CellScores], variant: str) -> dict[str, Any]:
    cells = {task: cell for task, cell in results.items() if variant in cell.by_variant}
    guesses = {task: cell.guesses[variant].to_json() for task, cell in cells.items() if variant in cell.guesses}
    return {
        "scores": {task: cell.by_variant[variant].score for task, cell in cells.items()},
        "unparsable": {task: cell.by_variant[variant].unparsable for task, cell in cells.items()},
        "blank": {task: cell.blank for task, cell in cells.items()},
        "breakdown": {task: dict(cell.breakdown[variant]) for task, cell in cells.items() if cell.breakdown[variant]},
        **({"guesses": guesses} if guesses else {}),
    }


def in_order(several: Iterable[Iterable[str]]) -> list[str]:
    """Every name once, in the order in which they first come."""
    return list(dict.fromkeys(name for each in several for name in each))


def variants_of(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Scores of a `scores.json`, percent by variant and task.

    One that was written before all variants were kept has its own only.
    """
    if "variants" in scores:
        return {variant: dict(found.get("scores", {})) for variant, found in scores["variants"].items()}
    return {scores.get("scorer", DEFAULT): dict(scores.get("scores", {}))}


def versions_of(scores: Mapping[str, Any]) -> dict[str, int]:
    """Version of the scorers behind each score of a `scores.json` that they gave, not another program; those written
    before there were versions have 1."""
    return dict.fromkeys(answered(scores), 1) | dict(scores.get("versions", {}))


def answered(scores: Mapping[str, Any]) -> list[str]:
    """Tasks of a `scores.json` whose answers were kept."""
    return [task for task in scores.get("scores", {}) if task not in scores.get(WITHOUT_ANSWERS, ())]


@dataclass(frozen=True)
class TaskVariants:
    """A task in a table of all variants; percent by variant, None where it was not scored by that variant."""

    task: str
    scores: Mapping[str, float | None]
    differing: int | None
    count: int | None

    def difference(self, variant: str) -> float | None:
        """A variant's score minus that of the first variant of the table, in points."""
        first, other = next(iter(self.scores.values())), self.scores[variant]
        return None if first is None or other is None else other - first


def variant_table(scores: Mapping[str, Any], tasks: Sequence[str]) -> list[TaskVariants]:
    """Table of all variants out of a `scores.json`; all its lines have the same variants.

    Args:
        scores: content of `scores.json`.
        tasks: in the order of the lines; those that were not evaluated are left out.
    """
    found = variants_of(scores)
    differing, counts = scores.get("differing", {}), scores.get("counts", {})
    return [
        TaskVariants(
            task, {name: each.get(task) for name, each in found.items()}, differing.get(task), counts.get(task)
        )
        for task in tasks
        if any(task in column for column in found.values())
    ]


def filled(old: Mapping[str, Any], new: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The old content with the tasks of the new one; of a task that both have, the new one counts.

    Objects are joined key by key, with tasks in the given order; numbers of `ADDED` are added up.
    """
    joined = {key: _joined(key, old.get(key), new.get(key), order) for key in {**old, **new}}
    places = {task: at for at, task in enumerate(order)}
    if not set(joined) <= set(places):
        return joined
    return {task: joined[task] for task in sorted(joined, key=places.__getitem__)}


def _joined(key: str, old: Any, new: Any, order: Sequence[str]) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return dict(new) if {"score", "count"} <= set(new) else filled(old, new, order)
    if key in ADDED and old is not None and new is not None:
        return old + new
    return old if new is None else new
