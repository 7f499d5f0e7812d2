"""Scores over all records of a task, and the joins with data set rows."""

import copy

import pytest

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.task_scores import Scoring, TaskScore, score_records


def answers(task: str, *pairs: tuple[str, dict]) -> list[AnswerRecord]:
    return [AnswerRecord(task, str(i), "?", prediction, reference) for i, (prediction, reference) in enumerate(pairs)]


CRANE, TABBY, SNAIL = ({"answer": name} for name in ("Crane", "Tabby", "Snail"))


def test_mean_in_percent_with_counts():
    records = answers("gqa", ("yes", {"answer": "yes"}), ("", {"answer": "no"}), (" ", {"answer": "no"}))
    assert score_records(records, "gqa") == TaskScore("gqa", "corrected", pytest.approx(100 / 3), 3, 0, 2)


def test_soft_scores_are_averaged():
    ten = {"answers": ["red"] * 2 + ["blue"] * 8}
    got = score_records(answers("textvqa", ("red", ten), ("blue", ten), ("green", ten)), "textvqa")
    assert got.score == pytest.approx(100 * (0.6 + 1 + 0) / 3)


def test_unreadable_answers_are_counted_and_stay_in_the_denominator():
    box = {"answer_bbox": "[0.2,0.2,0.6,0.6]", "size": [10, 10]}
    records = answers("grounding", ("[0.2,0.2,0.6,0.6]", box), ("left", box), ("[0.8,0.8,0.9,0.9]", box), ("", box))
    assert score_records(records, "grounding") == TaskScore("grounding", "corrected", 25.0, 4, 2, 1)
    titles = answers("ocrvqa", ("Unanswerable", {"answer": "It"}), ("it", {"answer": "It"}))
    assert score_records(titles, "ocrvqa", "reference") == TaskScore("ocrvqa", "reference", 50.0, 2, 1, 0)


def test_variants_differ_where_they_should():
    records = answers("imagenet", ("", CRANE), ("crane", CRANE), ("Crane", CRANE), ("Cr", CRANE))
    assert score_records(records, "imagenet", "reference").score == 75.0
    assert score_records(records, "imagenet", "corrected").score == 50.0


def test_records_are_not_changed_and_order_does_not_matter():
    records = answers("imagenet", ("Crane", CRANE), ("x", TABBY), ("snail", SNAIL))
    before = copy.deepcopy(records)
    for variant in ("corrected", "reference"):
        forward = score_records(records, "imagenet", variant)
        assert score_records(reversed(records), "imagenet", variant) == forward
        assert score_records((record for record in records), "imagenet", variant) == forward
    assert records == before


def test_no_records_is_an_error():
    with pytest.raises(DataError, match="gqa: no answers to score"):
        score_records([], "gqa")


def test_scoring_names_one_variant_for_all_tasks():
    records = answers("imagenet", ("", CRANE))
    assert Scoring().variant == "corrected"
    found = [Scoring(variant).scorer("imagenet").read(records[0]) for variant in ("reference", "corrected")]
    assert found == [1.0, 0.0]
    assert Scoring("reference").scorer("imagenet")(records[0]) == 1.0
    with pytest.raises(ConfigError, match="did you mean reference"):
        Scoring("refrence")
