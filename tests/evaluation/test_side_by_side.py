"""Both variants on the same answers."""

import pytest

from coin_lightning.errors import DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import VARIANTS
from coin_lightning.evaluation.side_by_side import score_both, score_fields, shown_truth, variant_rows
from coin_lightning.evaluation.task_scores import score_records


def answers(task: str, *pairs: tuple[str, dict]) -> list[AnswerRecord]:
    return [AnswerRecord(task, f"q{i}", "?", prediction, reference) for i, (prediction, reference) in enumerate(pairs)]


CRANE = {"answer": "Crane"}
LABELS = answers("imagenet", ("", CRANE), ("crane", CRANE), ("Crane", CRANE), ("Cr", CRANE), ("Owl", CRANE))
RED = {"answer": "red", "answers": ["red"] * 3 + ["pink"] * 7}


def test_two_scores_and_the_rows_between_them():
    both = score_both(LABELS, "imagenet")
    for variant in VARIANTS:
        assert both.by_variant[variant] == score_records(LABELS, "imagenet", variant)
    assert {name: score.score for name, score in both.by_variant.items()} == {"corrected": 40.0, "reference": 60.0}
    assert [(row.question_id, row.corrected, row.reference) for row in both.differences] == [
        ("q0", 0.0, 1.0), ("q1", 1.0, 0.0), ("q3", 0.0, 1.0),
    ]  # fmt: skip
    assert both.differences[0].to_json() == {
        "question_id": "q0", "prediction": "", "reference_answer": "Crane",
        "corrected_score": 0.0, "reference_score": 1.0,
    }  # fmt: skip


def test_an_unreadable_answer_equals_a_wrong_one():
    box = {"answer_bbox": "[0.2,0.2,0.6,0.6]", "size": [10, 10]}
    both = score_both(answers("grounding", ("left", box), ("[0,2,0,2,0,6]", box)), "grounding")
    assert both.differences == ()
    assert both.by_variant["corrected"].unparsable == 2


def test_fields_of_scores_json():
    choices = {"choices": ["horse", "cat"], "answer_index": 1, "subject": "natural science"}
    letters = answers("scienceqa", ("B", choices), ("cat", {**choices, "image": "a.png"}))
    results = {"scienceqa": score_both(letters, "scienceqa"), "imagenet": score_both(LABELS, "imagenet")}
    fields = score_fields(results, "reference")
    assert fields["scores"] == {"scienceqa": 50.0, "imagenet": 60.0} == fields["variants"]["reference"]["scores"]
    assert fields["variants"]["corrected"]["scores"] == {"scienceqa": 100.0, "imagenet": 40.0}
    assert fields["counts"] == {"scienceqa": 2, "imagenet": 5}
    assert fields["differing"] == {"scienceqa": 1, "imagenet": 3}
    assert fields["blank"] == {"scienceqa": 0, "imagenet": 1}
    assert fields["unparsable"] == {"scienceqa": 1, "imagenet": 0}  # the reference finds no letter in "cat"
    assert fields["breakdown"]["scienceqa"]["image"] == {"score": 0.0, "count": 1}
    assert fields["variants"]["corrected"]["breakdown"]["scienceqa"]["image"] == {"score": 100.0, "count": 1}
    assert list(fields["breakdown"]) == ["scienceqa"]


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="gqa: no answers to score"):
        score_both([], "gqa")


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (CRANE, "Crane"),
        (RED, "pink x7, red x3"),
        ({"answer_bbox": "[0,0,1,1]"}, "[0,0,1,1]"),
        ({"answer": "yes", "answers": []}, "yes"),
        ({}, ""),
    ],
)
def test_truth_in_one_line(reference, text):
    assert shown_truth(reference) == text


def test_table_of_a_run_with_both_variants():
    results = {"imagenet": score_both(LABELS, "imagenet"), "vqav2": score_both(answers("vqav2", ("red", RED)), "vqav2")}
    rows = variant_rows(score_fields(results, "corrected"), ["gqa", "vqav2", "imagenet"])
    assert [(row.task, row.corrected, row.reference, row.differing, row.count) for row in rows] == [
        ("vqav2", 90.0, 100.0, 1, 1), ("imagenet", 40.0, 60.0, 3, 5),
    ]  # fmt: skip
    assert [row.difference for row in rows] == [10.0, 20.0]


def test_table_of_a_run_that_kept_one_variant():
    old = {"scorer": "reference", "scores": {"gqa": 50.0}, "counts": {"gqa": 2}}
    (row,) = variant_rows(old, ["gqa"])
    assert (row.corrected, row.reference, row.difference, row.differing) == (None, 50.0, None, None)
