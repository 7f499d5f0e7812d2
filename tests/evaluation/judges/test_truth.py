"""Where ground truth and boxes of a record come from."""

from typing import Any

import pytest

from coin_lightning.backbones.box_formats import BoxFormat
from coin_lightning.errors import DataError
from coin_lightning.evaluation.boxes import answer_box
from coin_lightning.evaluation.judges.truth import ground_truth, is_box, shown_answer
from coin_lightning.evaluation.records import AnswerRecord


def record(prediction: str = "", **reference: Any) -> AnswerRecord:
    return AnswerRecord("toy", "q1", "What?\nShort.", prediction, reference)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"answer": "red"}, "red"),
        ({"answer": 7}, "7"),
        ({"answer": "red", "answers": ["blue"] * 10}, "red"),
        ({"answer": "", "answers": ["blue", "red", "red"]}, "red"),
        ({"answers": ["blue", "red"]}, "blue"),
        ({"answers": ["", " ", "red"]}, "red"),
        ({"answer_bbox": "[0,0,1,1]"}, "[0,0,1,1]"),
        ({"answer_bbox": "[0,0,1,1]", "answer": "a cup"}, "[0,0,1,1]"),
    ],
)
def test_ground_truth(reference: dict[str, Any], expected: str):
    assert ground_truth(record(**reference)) == expected


@pytest.mark.parametrize(
    "reference", [{}, {"answer": " "}, {"answer": None}, {"answer": "", "answers": []}, {"answers": None}]
)
def test_a_sample_without_truth_is_named(reference: dict[str, Any]):
    with pytest.raises(DataError, match="toy, question q1: the sample has no 'answer'"):
        ground_truth(record(**reference))


def test_a_box_is_told_by_the_sample():
    assert is_box({"answer_bbox": "[0,0,1,1]"})
    assert not is_box({"answer": "[0,0,1,1]"})


def test_a_box_in_coins_own_format():
    assert answer_box("[0.1, 0.2, 0.3, 0.4]", {"answer_bbox": "[0,0,1,1]"}) == (0.1, 0.2, 0.3, 0.4)
    assert answer_box("a cup", {"answer_bbox": "[0,0,1,1]"}) is None


def test_a_box_in_a_models_own_format_is_read_and_shown_like_the_truth():
    own = {"frame": "squashed", "numbers": "thousand_tags"}
    box, size = (0.25, 0.5, 0.75, 0.75), [400, 200]
    written = BoxFormat(**own).write(box, size)
    answer = record(written, answer_bbox="[0.25,0.5,0.75,0.75]", size=size, box_format=own)
    assert answer_box(answer.prediction, answer.reference) == pytest.approx(box, abs=5e-3)
    assert shown_answer(answer) == "[0.25,0.50,0.75,0.75]"
    assert "0.25" not in written


def test_an_answer_that_is_no_box_is_shown_as_it_is():
    own = {"frame": "squashed", "numbers": "thousand_tags"}
    reference = {"answer_bbox": "[0,0,1,1]", "size": [4, 2]}
    assert shown_answer(record("a cup", **reference, box_format=own)) == "a cup"
    assert shown_answer(record("[0.1,0.2,0.3,0.4]", **reference)) == "[0.1,0.2,0.3,0.4]"
    assert shown_answer(record("red", answer="red")) == "red"
