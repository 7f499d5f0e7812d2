"""Scores over all records of a task, and the joins with data set rows."""

import copy

import pytest

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.task_scores import Scoring, TaskScore, join_rows, score_records


def answers(task: str, *pairs: tuple[str, dict]) -> list[AnswerRecord]:
    return [AnswerRecord(task, str(i), "?", prediction, reference) for i, (prediction, reference) in enumerate(pairs)]


CRANE, TABBY, SNAIL = ({"answer": name} for name in ("Crane", "Tabby", "Snail"))
ROWS = [{"question_id": str(i), **reference} for i, reference in enumerate((CRANE, TABBY, SNAIL))]


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
        assert score_records((record for record in records), "imagenet", variant, rows=None) == forward
    assert records == before


def test_no_records_is_an_error():
    with pytest.raises(DataError, match="gqa: no answers to score"):
        score_records([], "gqa")


def test_reference_imagenet_joins_by_position_and_corrected_by_id():
    records = answers("imagenet", ("Crane", {}), ("Tabby", {}), ("Snail", {}))
    shuffled = [records[1], records[0], records[2]]
    assert score_records(records, "imagenet", "reference", ROWS).score == 100.0
    assert score_records(shuffled, "imagenet", "reference", ROWS).score == pytest.approx(100 / 3)
    assert score_records(shuffled, "imagenet", "corrected", ROWS).score == 100.0


def test_missing_answers_count_in_corrected_only():
    got = answers("vqav2", ("Crane", {}), ("Tabby", {}))
    corrected = score_records(got, "vqav2", "corrected", ROWS)
    assert (corrected.score, corrected.count, corrected.blank) == (pytest.approx(200 / 3), 3, 1)
    reference = score_records(got, "vqav2", "reference", ROWS)
    assert (reference.score, reference.count) == (100.0, 2)


@pytest.mark.parametrize("variant", ["corrected", "reference"])
def test_scienceqa_counts_missing_answers_in_both(variant):
    rows = [{"question_id": i, "choices": ["x", "y"], "answer_index": 1} for i in range(4)]
    got = score_records(answers("scienceqa", ("B", {}), ("A", {})), "scienceqa", variant, rows)
    assert (got.score, got.count, got.unparsable) == (25.0, 4, 2)


def test_joined_records_follow_the_rows_and_leave_the_originals_alone():
    records = answers("gqa", ("a", {}), ("b", {}), ("c", {}))
    joined = join_rows([records[2], records[0], records[1]], ROWS, "gqa")
    assert [(r.question_id, r.prediction, r.reference["answer"]) for r in joined] == [
        ("0", "a", "Crane"),
        ("1", "b", "Tabby"),
        ("2", "c", "Snail"),
    ]
    assert all(record.reference == {} for record in records)


def test_joins_that_do_not_fit_are_refused():
    records = answers("gqa", ("a", {}), ("b", {}), ("c", {}))
    with pytest.raises(DataError, match="gqa, question 2: answered, but not in the data set"):
        join_rows(records, ROWS[:2], "gqa")
    with pytest.raises(DataError, match="question ids are not unique"):
        join_rows([records[0], records[0]], ROWS, "gqa", "reference")
    with pytest.raises(DataError, match="question ids are not unique"):
        join_rows(records, [*ROWS, ROWS[0]], "gqa")
    with pytest.raises(DataError, match="3 answers for 2 rows; the reference rule joins by position"):
        join_rows(records, ROWS[:2], "imagenet", "reference")


def test_scoring_names_one_variant_for_all_tasks():
    records = answers("imagenet", ("", CRANE))
    assert Scoring().variant == "corrected"
    assert Scoring("reference").score(records, "imagenet").score == 100.0
    assert Scoring("corrected").score(records, "imagenet").score == 0.0
    assert Scoring("reference").scorer("imagenet")(records[0]) == 1.0
    with pytest.raises(ConfigError, match="did you mean reference"):
        Scoring("refrence")
