"""`Scorer` on records and mappings, and its refusals."""

import pytest

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorer import Scorer


def half_or_nothing(prediction: str, reference) -> float | None:
    return {"half": 0.5, "": None}.get(prediction, 0.0)


SCORER = Scorer("quiz", "corrected", half_or_nothing)


def record(prediction: object) -> AnswerRecord:
    return AnswerRecord("quiz", "7", "?", prediction, {})  # type: ignore[arg-type]


def test_unread_predictions_score_nothing():
    assert [SCORER.read(record(text)) for text in ("half", "x", "")] == [0.5, 0.0, None]
    assert [SCORER(record(text)) for text in ("half", "x", "")] == [0.5, 0.0, 0.0]
    assert SCORER({"prediction": "half", "reference": {}, "question_id": 7}) == 0.5


@pytest.mark.parametrize("error", [KeyError("answer"), ValueError("nine answers"), ConfigError("needs a size")])
def test_whatever_a_rule_stumbles_over_names_the_row(error):
    def stumbling(prediction, reference):
        raise error

    with pytest.raises(DataError, match=r"quiz, question 7: the corrected rule cannot use the reference: .*compare"):
        Scorer("quiz", "corrected", stumbling)(record("x"))


@pytest.mark.parametrize("prediction", [None, 3, b"half", ["half"]])
def test_a_prediction_is_text(prediction):
    with pytest.raises(DataError, match=r"question 7: prediction .* is not text"):
        SCORER(record(prediction))


def test_a_mapping_needs_both_fields():
    with pytest.raises(DataError, match="question 3: the record has no field prediction and no field reference"):
        SCORER({"question_id": 3})
