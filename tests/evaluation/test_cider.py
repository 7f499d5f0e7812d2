"""CIDEr-D against cases worked by hand and a direct, slow version of the paper's formulas."""

import math
import random

import pytest

from coin_lightning.errors import DataError
from coin_lightning.evaluation.cider import CIDErD
from coin_lightning.evaluation.records import AnswerRecord


def records(*pairs: tuple[str, list[str]]) -> list[AnswerRecord]:
    return [AnswerRecord("captions", str(i), "?", text, {"answers": refs}) for i, (text, refs) in enumerate(pairs)]


def each(*pairs: tuple[str, list[str]]) -> list[float]:
    return CIDErD().by_record(records(*pairs))


OTHER = ("x", ["y"])


def test_the_same_caption_has_one_for_every_n_that_it_is_long_enough_for():
    assert each(("one dog runs fast", ["one dog runs fast"]), OTHER) == [pytest.approx(10.0), 0.0]
    assert each(("one dog", ["one dog"]), OTHER) == [pytest.approx(5.0), 0.0]  # unigrams and bigrams of n = 1..4


def test_a_word_of_every_image_weighs_nothing():
    """Only "dog" counts: of unigrams the vectors are equal, there is no other n-gram."""
    assert each(("the", ["the dog"]), ("the", ["the"]))[0] == 0.0
    assert each(("dog", ["dog"]), ("the", ["the"]))[0] == pytest.approx(2.5)


def test_length_penalty():
    """Two tokens more: exp(-4 / 72). Unigrams: cosine 1 / sqrt(3), as all three weigh log 2."""
    found = each(("dog one two", ["dog"]), OTHER)[0]
    assert found == pytest.approx(10 / 4 * math.exp(-4 / 72) / math.sqrt(3))


def test_counts_are_clipped():
    """ "dog dog dog": weights 3 and 1, clipped to 1 x 1 over 3 x 1, with the penalty of two tokens."""
    assert each(("dog dog dog", ["dog"]), OTHER)[0] == pytest.approx(10 / 4 * math.exp(-4 / 72) / 3)


def test_the_mean_over_references_and_the_scale_of_the_papers():
    pairs = ("dog", ["dog", "cat"]), OTHER
    assert each(*pairs) == [pytest.approx(1.25), 0.0]
    score = CIDErD().score(records(*pairs))
    assert score.score == pytest.approx(62.5)
    assert (score.count, score.each) == (2, None)  # 1.25 of 10 is no share of one, and no caption is right or wrong


def test_case_and_punctuation_do_not_count():
    assert each(("A man, don't WAIT.", ["a man don't wait"]), OTHER)[0] == pytest.approx(10.0)


def slow(pairs: list[tuple[str, list[str]]]) -> list[float]:
    """Equations 1 to 4 of the paper and those of its section 6, one number after the other."""

    def grams(text: str, n: int) -> list[str]:
        words = text.split()
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    def weight(gram: str, text: str, n: int) -> float:
        images = sum(any(gram in grams(ref, n) for ref in refs) for _, refs in pairs)
        return grams(text, n).count(gram) * math.log(len(pairs) / max(1, images))

    scores = []
    for text, refs in pairs:
        total = 0.0
        for n in (1, 2, 3, 4):
            for ref in refs:
                every = sorted({*grams(text, n), *grams(ref, n)})
                a = [weight(gram, text, n) for gram in every]
                b = [weight(gram, ref, n) for gram in every]
                norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
                if norms:
                    cosine = sum(min(x, y) * y for x, y in zip(a, b, strict=True)) / norms
                    gap = len(text.split()) - len(ref.split())
                    total += math.exp(-gap * gap / 72) * cosine / len(refs) / 4
        scores.append(10 * total)
    return scores


def test_as_the_slow_version_on_random_captions():
    rng = random.Random(0)
    words = ["a", "the", "dog", "cat", "red", "bus", "runs", "sits", "on", "under", "tree"]

    def caption() -> str:
        return " ".join(rng.choices(words, k=rng.randint(1, 9)))

    pairs = [(caption(), [caption() for _ in range(rng.randint(1, 5))]) for _ in range(40)]
    assert each(*pairs) == pytest.approx(slow(pairs))
    assert sum(each(*pairs)) > 5


def test_one_answer_is_a_reference_and_none_is_an_error():
    answer = AnswerRecord("captions", "7", "?", "dog", {"answer": "dog"})
    assert CIDErD().by_record([answer, *records(OTHER)]) == [pytest.approx(2.5), 0.0]
    with pytest.raises(DataError, match="captions, question 7: `answers` of the reference is \\[\\]"):
        CIDErD().score([AnswerRecord("captions", "7", "?", "dog", {"answers": []})])
