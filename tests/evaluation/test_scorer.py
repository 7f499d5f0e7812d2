"""One rule over all records of a task."""

import copy

import pytest

from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import TaskScore
from coin_lightning.evaluation.scorers import get_scorer


def answers(task: str, *pairs: tuple[str, dict]) -> list[AnswerRecord]:
    return [AnswerRecord(task, str(i), "?", prediction, reference) for i, (prediction, reference) in enumerate(pairs)]


CRANE, TABBY, SNAIL = ({"answer": name} for name in ("Crane", "Tabby", "Snail"))


def test_mean_in_percent_with_counts():
    records = answers("gqa", ("yes", {"answer": "yes"}), ("", {"answer": "no"}), (" ", {"answer": "no"}))
    assert get_scorer("gqa").score(records) == TaskScore(pytest.approx(100 / 3), 3, 0)
    assert get_scorer("gqa").score(records).each == (1.0, 0.0, 0.0)


def test_soft_scores_are_averaged():
    ten = {"answers": ["red"] * 2 + ["blue"] * 8}
    got = get_scorer("textvqa").score(answers("textvqa", ("red", ten), ("blue", ten), ("green", ten)))
    assert got.score == pytest.approx(100 * (0.6 + 1 + 0) / 3)


def test_unreadable_answers_are_counted_and_stay_in_the_denominator():
    box = {"answer_bbox": "[0.2,0.2,0.6,0.6]", "size": [10, 10]}
    records = answers("grounding", ("[0.2,0.2,0.6,0.6]", box), ("left", box), ("[0.8,0.8,0.9,0.9]", box), ("", box))
    assert get_scorer("grounding").score(records) == TaskScore(25.0, 4, 2)
    titles = answers("ocrvqa", ("Unanswerable", {"answer": "It"}), ("it", {"answer": "It"}))
    assert get_scorer("ocrvqa", "reference").score(titles) == TaskScore(50.0, 2, 1)


def test_variants_differ_where_they_should():
    records = answers("imagenet", ("", CRANE), ("crane", CRANE), ("Crane", CRANE), ("Cr", CRANE))
    assert get_scorer("imagenet", "reference").score(records).score == 75.0
    assert get_scorer("imagenet", "corrected").score(records).score == 50.0


def test_records_are_not_changed_and_order_does_not_matter():
    records = answers("imagenet", ("Crane", CRANE), ("x", TABBY), ("snail", SNAIL))
    before = copy.deepcopy(records)
    for variant in ("corrected", "reference"):
        scorer = get_scorer("imagenet", variant)
        assert scorer.score(records[::-1]) == scorer.score(records)
    assert records == before
