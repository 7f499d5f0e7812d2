"""What the reference rules do where CoIN's scripts stop with an exception; the rest is in `golden`."""

import pytest

from coin_lightning.errors import DataError
from coin_lightning.evaluation import reference_rules as rules
from coin_lightning.evaluation.scorers import Scoring, get_scorer
from coin_lightning.evaluation.side_by_side import score_all


@pytest.mark.parametrize(
    ("task", "reference", "message"),
    [
        ("textvqa", {"answers": ["a"] * 11}, "11 annotator answers, soft accuracy needs 10"),
        ("grounding", {"answer_bbox": "[0.1,0.2,0.3]", "size": [1, 1]}, "not enough values"),
        ("grounding", {"answer_bbox": "[0.1,0.2,0.3,]", "size": [1, 1]}, "could not convert"),
        ("vizwiz", {"answer": 3}, "cannot use the reference"),
        ("scienceqa", {"choices": ["x", "y"], "answer_index": -1}, "answer_index -1 is negative"),
    ],
)
@pytest.mark.parametrize("prediction", ["[0.10,0.20,0.30,0.40]", "x"])
def test_a_reference_that_stops_the_script_is_an_error(task, reference, message, prediction):
    with pytest.raises(DataError, match=message):
        get_scorer(task, "reference")({"question_id": "1", "prediction": prediction, "reference": reference})


def test_a_size_without_numbers_stops_it_where_a_box_was_predicted():
    reference = {"answer_bbox": "[0.1,0.2,0.3,0.4]", "size": []}
    assert rules.grounding("x", reference) is None
    with pytest.raises(DataError, match="empty"):
        get_scorer("grounding", "reference")({"prediction": "[0.10,0.20,0.30,0.40]", "reference": reference})


def test_no_answers_at_all_is_an_error_and_no_division_by_zero():
    with pytest.raises(DataError, match="gqa: no answers to score"):
        score_all([], Scoring.of("gqa", {}))


def test_the_fifth_letter_is_the_last():
    seven = {"choices": list("tuvwxyz"), "answer_index": 6}
    assert [rules.scienceqa(letter, seven) for letter in ("E", "G")] == [0.0, None]


def test_a_skipped_title_is_told_from_a_wrong_one():
    assert rules.ocrvqa("Unanswerable", {"answer": "Unanswerable"}) is None
    assert rules.ocrvqa("unanswerable", {"answer": "Unanswerable"}) == 1.0


def test_without_a_size_boxes_are_compared_as_they_are():
    truth = {"answer_bbox": "[0.1,0.1,0.5,0.50]"}
    assert rules.grounding("[0.10,0.10,0.50,0.50]", truth) == rules.grounding(
        "[0.10,0.10,0.50,0.50]", {**truth, "size": [3, 4]}
    )


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        ("[0.10,0.20,0.50,0.60]", 1.0),
        ("0.10 to 0.20 by 0.50, 0.60", 1.0),
        ("[0.10,0.20,0.50,0.60,0.99]", 1.0),  # the first four
        ("[0.30,0.40,0.70,0.80]", 0.0),  # IoU 0.04 / 0.28
        ("[0.10,0.20,0.50,0.39]", 0.0),  # a little less than half
        ("[0.0,0.20,0.50,0.60]", None),  # at the left edge: three numbers are seen
        ("[0.10,0.20,1,0.60]", None),  # a number without a point is not seen
        ("{<10><20><50><60>}", None),  # nor its own notation
        ("[0.001,0.20,0.50,10.5]", 0.0),
        ("", None),
    ],
)
def test_boxes_of_minigpt_v2_are_read_as_coins_script_reads_them(prediction, right):
    """The truth is the box in the image itself, not the one in the padded square."""
    truth = {"answer_bbox": "[0.9,0.9,1.0,1.0]", "origin_answer_bbox": "[0.10,0.20,0.50,0.60]", "size": [3, 4]}
    assert rules.grounding_minigpt_v2(prediction, truth) == right


def test_a_sample_without_its_box_in_the_image_stops_the_rule_of_minigpt_v2():
    with pytest.raises(KeyError, match="origin_answer_bbox"):
        rules.grounding_minigpt_v2("x", {"answer_bbox": "[0.1,0.1,0.2,0.2]"})
