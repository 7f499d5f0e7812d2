"""CIDEr-D: how well a caption agrees with several people's captions (Vedantam et al. 2015, arXiv 1411.5726, section 6).

For n = 1..4 a caption is a vector of its n-grams, each weighted by its count times log(N / number of the N images in
whose references it occurs). The score is the mean over n and over the references of a clipped cosine, with a penalty
for unlike length, times 10; that of a task is the mean over its records. As captioning papers print "CIDEr", it is
multiplied by 100 once more: 113 is usual for a good model on COCO, and 1000 is the most.

The published implementation splits text with the PTB tokenizer, a Java program. Here a token is a run of letters and
digits, or several joined by apostrophes, in lower case, and punctuation is dropped. Contractions ("don't") stay one
token where PTB makes two, and length is counted in tokens where the published code counts bigrams, so scores may differ
a little from the published tool's. Between models scored here they are comparable.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from coin_lightning.errors import DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import TaskScore

TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
Grams = Counter[tuple[str, ...]]
Vector = Mapping[tuple[str, ...], float]
SCALE = 10.0


class CIDErD:
    """Scorer of captions: each record's reference has `answers`, a list of captions, or one `answer`.

    Document frequencies come from the references of the scored records, so that a subset has other scores than the
    whole; with a single record every weight is log 1 = 0, and so is the score.

    Args:
        longest: longest n-gram.
        sigma: of the Gaussian length penalty, in tokens.
    """

    def __init__(self, longest: int = 4, sigma: float = 6.0) -> None:
        self.longest, self.sigma = longest, sigma

    def score(self, records: Sequence[AnswerRecord]) -> TaskScore:
        """CIDEr-D x 100 over all records. Single captions are neither right nor wrong, so that it has no `each`.

        Raises:
            DataError: a record has no reference caption.
        """
        return TaskScore(100 * math.fsum(self.by_record(records)) / len(records), len(records))

    def by_record(self, records: Sequence[AnswerRecord]) -> list[float]:
        """CIDEr-D of each record, from 0 to 10, among these.

        Raises:
            DataError: as `score`.
        """
        references = [[self._grams(text) for text in captions(record)] for record in records]
        seen = Counter(gram for several in references for gram in set().union(*several))
        rarity = {gram: math.log(len(records)) - math.log(count) for gram, count in seen.items()}
        unseen = math.log(len(records))
        each = []
        for record, several in zip(records, references, strict=True):
            own = self._grams(record.prediction)
            found = [self._similarity(own, other, rarity, unseen) for other in several]
            each.append(SCALE * math.fsum(found) / len(found))
        return each

    def _grams(self, text: str) -> Grams:
        words = TOKEN.findall(text.lower())
        return Counter(
            tuple(words[at : at + n]) for n in range(1, self.longest + 1) for at in range(len(words) - n + 1)
        )

    def _similarity(self, own: Grams, other: Grams, rarity: Vector, unseen: float) -> float:
        """Mean over n of the clipped cosine times the length penalty."""
        gap = _length(own) - _length(other)
        penalty = math.exp(-(gap**2) / (2 * self.sigma**2))
        total = 0.0
        for n in range(1, self.longest + 1):
            a, b = (
                {gram: count * rarity.get(gram, unseen) for gram, count in grams.items() if len(gram) == n}
                for grams in (own, other)
            )
            norms = _norm(a) * _norm(b)
            if norms:
                total += math.fsum(min(value, b[gram]) * b[gram] for gram, value in a.items() if gram in b) / norms
        return penalty * total / self.longest


def captions(record: AnswerRecord) -> Sequence[str]:
    """The reference captions of a record.

    Raises:
        DataError: there are none, or one is no text.
    """
    reference = record.reference
    found = reference.get("answers") or ([reference["answer"]] if "answer" in reference else [])
    if not found or isinstance(found, str) or not all(isinstance(text, str) for text in found):
        raise DataError(
            f"{record.task}, question {record.question_id}: `answers` of the reference is {found!r}; CIDEr-D needs a "
            "list of captions there, or one `answer`"
        )
    return list(found)


def _length(grams: Grams) -> int:
    return sum(count for gram, count in grams.items() if len(gram) == 1)


def _norm(vector: Vector) -> float:
    return math.sqrt(math.fsum(value * value for value in vector.values()))
