"""What a similarity gets to see of each kind of answer."""

from typing import Any

import pytest

from coin_lightning.errors import DataError
from coin_lightning.evaluation.judges.compared import Compared, compared
from coin_lightning.evaluation.records import AnswerRecord

CHOICES = ["iron", "wood", "a sheet of glass"]


def of(prediction: str, **reference: Any) -> Compared:
    return compared(AnswerRecord("toy", "q1", "What?\nShort.", prediction, reference))


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("A", Compared("iron", "wood")),
        ("B", Compared("wood", "wood")),
        ("(b)", Compared("wood", "wood")),
        ("B. wood", Compared("wood", "wood")),
        ("The answer is C", Compared("a sheet of glass", "wood")),
        ("iron", Compared("iron", "wood")),
        ("D", Compared("D", "wood")),
        ("something soft", Compared("something soft", "wood")),
    ],
)
def test_letters_become_the_options_that_they_name(prediction: str, expected: Compared):
    assert of(prediction, answer="B", choices=CHOICES, answer_index=1) == expected


def test_texts_are_compared_as_they_are_without_the_ends():
    assert of(" a red bus\n", answer=" red bus ") == Compared("a red bus", "red bus")
    assert of("B", answer="blue") == Compared("B", "blue")


@pytest.mark.parametrize("prediction", ["", " ", "\n\t"])
def test_a_blank_answer_is_worth_nothing(prediction: str):
    assert of(prediction, answer="red").score == 0.0
    assert of(prediction, answer="B", choices=CHOICES).score == 0.0


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        ("[0.0,0.0,0.5,0.5]", 10.0),
        ("[0.0,0.0,0.5,0.25]", 5.0),
        ("[0.25,0.0,0.75,0.5]", 10 / 3),
        ("[0.5,0.5,1.0,1.0]", 0.0),
        ("[-1,-1,0.5,0.5]", 10.0),  # clipped to the image
        ("[0.5,0.5,0.0,0.0]", 0.0),  # corners swapped
        ("a cup", 0.0),
        ("", 0.0),
    ],
)
def test_boxes_score_by_their_overlap(prediction: str, score: float):
    found = of(prediction, answer_bbox="[0.0,0.0,0.5,0.5]", size=[640, 480])
    assert found.score == pytest.approx(score)


def test_a_true_box_that_is_none_is_named():
    with pytest.raises(DataError, match=r"toy, question q1: answer_bbox 'left' is not four numbers"):
        of("[0,0,1,1]", answer_bbox="left")
