"""All variants on the same answers."""

import pytest

from coin_lightning.errors import DataError
from coin_lightning.evaluation.cider import CIDErD
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import TaskScore
from coin_lightning.evaluation.scorers import Scoring, get_scorer
from coin_lightning.evaluation.side_by_side import (
    WITHOUT_ANSWERS,
    CellScores,
    score_all,
    score_fields,
    shown_truth,
    variant_table,
    variants_of,
    versions_of,
)


def answers(task: str, *pairs: tuple[str, dict]) -> list[AnswerRecord]:
    return [AnswerRecord(task, f"q{i}", "?", prediction, reference) for i, (prediction, reference) in enumerate(pairs)]


def scored(records: list[AnswerRecord], task: str) -> CellScores:
    return score_all(records, Scoring.of(task, {}))


CRANE = {"answer": "Crane"}
LABELS = answers("imagenet", ("", CRANE), ("crane", CRANE), ("Crane", CRANE), ("Cr", CRANE), ("Owl", CRANE))
RED = {"answer": "red", "answers": ["red"] * 3 + ["pink"] * 7}


def test_two_scores_and_the_rows_between_them():
    both = scored(LABELS, "imagenet")
    for variant in ("corrected", "reference"):
        assert both.by_variant[variant] == get_scorer("imagenet", variant).score(LABELS)
    assert {name: score.score for name, score in both.by_variant.items()} == {"corrected": 40.0, "reference": 60.0}
    assert [(each.question_id, *each.scores.values()) for each in both.differences] == [
        ("q0", 0.0, 1.0), ("q1", 1.0, 0.0), ("q3", 0.0, 1.0),
    ]  # fmt: skip
    assert both.differences[0].to_json() == {
        "question_id": "q0", "prediction": "", "reference_answer": "Crane",
        "corrected_score": 0.0, "reference_score": 1.0,
    }  # fmt: skip


def test_an_unreadable_answer_equals_a_wrong_one():
    box = {"answer_bbox": "[0.2,0.2,0.6,0.6]", "size": [10, 10]}
    both = scored(answers("grounding", ("left", box), ("[0,2,0,2,0,6]", box)), "grounding")
    assert both.differences == ()
    assert both.by_variant["corrected"].unparsable == 2


def test_fields_of_scores_json():
    choices = {"choices": ["horse", "cat"], "answer_index": 1, "subject": "natural science"}
    letters = answers("scienceqa", ("B", choices), ("cat", {**choices, "image": "a.png"}))
    results = {"scienceqa": scored(letters, "scienceqa"), "imagenet": scored(LABELS, "imagenet")}
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
        scored([], "gqa")


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
    results = {"imagenet": scored(LABELS, "imagenet"), "vqav2": scored(answers("vqav2", ("red", RED)), "vqav2")}
    lines = variant_table(score_fields(results, "corrected"), ["gqa", "vqav2", "imagenet"])
    assert [(line.task, *line.scores.values(), line.differing, line.count) for line in lines] == [
        ("vqav2", 90.0, 100.0, 1, 1), ("imagenet", 40.0, 60.0, 3, 5),
    ]  # fmt: skip
    assert [line.difference("reference") for line in lines] == [10.0, 20.0]


def test_a_file_from_before_variants_and_versions():
    old = {"scorer": "reference", "scores": {"gqa": 50.0}, "counts": {"gqa": 2}}
    (line,) = variant_table(old, ["gqa"])
    assert (dict(line.scores), line.differing) == ({"reference": 50.0}, None)
    assert variants_of({"scores": {"gqa": 1.0}}) == {"corrected": {"gqa": 1.0}}
    assert versions_of(old) == {"gqa": 1}
    imported = {**old, "scores": {"gqa": 50.0, "vizwiz": 20.0}, "versions": {"gqa": 2}, WITHOUT_ANSWERS: ["vizwiz"]}
    assert versions_of(imported) == {"gqa": 2}  # the other score is what a program printed


class Longest:
    """A metric that exists over all records only."""

    def score(self, records):
        return TaskScore(float(max(len(record.prediction) for record in records)), len(records))


def test_any_number_of_variants_of_any_kind():
    """A rule, and two metrics over all records: of these no single answers are compared."""
    captions = answers("flickr", ("a red bus", {"answer": "a red bus"}), ("two dogs", {"answer": "a cat asleep"}))
    rule = get_scorer("gqa").rule
    scoring = Scoring.of("flickr", {"version": 3, "scorers": {"exact": rule, "cider": CIDErD(), "longest": Longest()}})
    cell = score_all(captions, scoring)
    assert [score.score for score in cell.by_variant.values()] == [50.0, pytest.approx(375.0), 9.0]
    assert cell.differences == ()
    with_rule = Scoring("flickr", {**scoring.scorers, "corrected": scoring.scorers["exact"]}, 3)
    mixed = {"flickr": score_all(captions, with_rule), "imagenet": scored(LABELS, "imagenet")}
    fields = score_fields(mixed, "corrected")
    assert list(fields["variants"]) == ["exact", "cider", "longest", "corrected", "reference"]
    assert fields["versions"] == {"flickr": 3, "imagenet": 1}
    assert fields["variants"]["cider"]["scores"] == {"flickr": pytest.approx(375.0)}
    lines = variant_table(fields, ["flickr", "imagenet"])
    assert lines[1].scores["cider"] is None
    assert lines[1].difference("reference") is None
