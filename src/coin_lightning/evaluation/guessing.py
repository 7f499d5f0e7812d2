"""What a task's test set gives without looking: the best constant answer, and chance where there are choices."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from coin_lightning.backbones.box_formats import SCALES, BoxFormat
from coin_lightning.evaluation.boxes import parse_box
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import Reference, Scorer

CANDIDATES, RECORDS = 32, 1000
"""Answers that are tried, the most frequent ones, on how many records at most; the best one counts on all."""


@dataclass(frozen=True)
class Guess:
    """Scores in percent.

    Attributes:
        answer: the one that, given to every question, scores most; the first such in order of frequency.
        score: of it.
        chance: mean over the questions of one through the number of choices; None where a question has none.
    """

    answer: str
    score: float
    chance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As `scores.json` has it."""
        return {"answer": self.answer, "score": self.score, "chance": self.chance}


def best_guess(records: Sequence[AnswerRecord], scorer: Scorer) -> Guess | None:
    """The best constant answer under a scorer, out of what the references hold to be right; None: they name no answer.

    Boxes are tried as the model would write them, since they are read so. Of them the mean one (the median of each
    number) is tried as well: two boxes are seldom the same.

    Args:
        records: of a task; their predictions do not matter.
        scorer: of the task.
    """
    # each once in a record, in order: that of a set is another in every process, and ties go to the first
    named = Counter(answer for record in records for answer in dict.fromkeys(_answers(record.reference)))
    tried = [answer for answer, _ in named.most_common(CANDIDATES)] + _middle(records)
    if not tried:
        return None
    some = records[:: -(-len(records) // RECORDS)]
    best = max(tried, key=lambda answer: _score(answer, some, scorer))
    return Guess(best, _score(best, records, scorer), chance(records))


def _score(answer: str, records: Sequence[AnswerRecord], scorer: Scorer) -> float:
    return scorer.score([replace(record, prediction=answer) for record in records]).score


def chance(records: Sequence[AnswerRecord]) -> float | None:
    """Expected percent of a guess among the choices; None where a question has none."""
    counts = [len(record.reference.get("choices") or ()) for record in records]
    return None if 0 in counts or not counts else 100.0 * sum(1 / count for count in counts) / len(counts)


def _answers(reference: Reference) -> Iterator[str]:
    several = reference.get("answers")
    found = [reference.get("answer"), _box(reference), *(several if isinstance(several, list) else ())]
    yield from (str(answer) for answer in found if answer is not None)


def _middle(records: Sequence[AnswerRecord]) -> list[str]:
    boxes = [parse_box(text) for record in records if (text := _box(record.reference)) is not None]
    known = [box for box in boxes if box is not None]
    if not known:
        return []
    middle = [median(corner) for corner in zip(*known, strict=True)]
    settings = records[0].reference.get("box_format") or {}
    scale = SCALES.get(settings.get("numbers", "unit")) or max(*middle, 1.0)  # of pixels any that holds them all
    if scale == 1:
        return ["[" + ",".join(f"{corner:.2f}" for corner in middle) + "]"]
    left, top, right, bottom = (corner / scale for corner in middle)
    own = BoxFormat(numbers=settings["numbers"], shown=(scale, scale))  # these numbers are of the model's frame already
    return [own.write((left, top, right, bottom), (1, 1))]


def _box(reference: Reference) -> str | None:
    """The right box as the model would write it; None where there is none."""
    if (written := reference.get("answer_bbox")) is None:
        return None
    box, settings = parse_box(str(written)), reference.get("box_format")
    if box is None or settings is None:
        return str(written)
    return BoxFormat(**settings).write(box, reference.get("size") or (1, 1))
