"""ScoreMatrix: rows, JSON and CSV forms, refusals."""

import csv
import io
import json
import math

import numpy as np
import pytest

from coin_lightning.errors import ConfigError
from coin_lightning.metrics.continual import summarize
from coin_lightning.metrics.score_matrix import ScoreMatrix, metrics_to_json, nan_to_none, positions


def two_rows() -> ScoreMatrix:
    matrix = ScoreMatrix.empty(["gqa", "vizwiz"])
    matrix = matrix.with_row("zero_shot", {"gqa": 1.5, "vizwiz": 0.0}, {"gqa": 400, "vizwiz": 399})
    return matrix.with_row("gqa", {"gqa": 60.25}, {"gqa": 400})


def test_empty_matrix_has_a_zero_shot_row_and_no_score():
    matrix = ScoreMatrix.empty(["gqa", "vizwiz", "vqav2"])
    assert matrix.rows == ("zero_shot", "gqa", "vizwiz", "vqav2")
    assert matrix.scores.shape == (4, 3)
    assert np.isnan(matrix.scores).all()
    assert matrix.to_json()["counts"] == [[None] * 3] * 4


def test_with_row_leaves_the_original_alone_and_replaces_the_whole_row():
    first = two_rows()
    second = first.with_row(1, {"vizwiz": 3.0})
    assert first.score("gqa", "gqa") == 60.25
    assert math.isnan(second.score("gqa", "gqa"))
    assert second.score(1, "vizwiz") == 3.0
    assert second.to_json()["counts"][1] == [None, None]


def test_json_core_fields():
    assert two_rows().to_json() == {
        "tasks": ["gqa", "vizwiz"],
        "rows": ["zero_shot", "gqa", "vizwiz"],
        "unit": "percent",
        "scores": [[1.5, 0.0], [60.25, None], [None, None]],
        "counts": [[400, 399], [400, None], [None, None]],
    }


def test_json_round_trip_through_text_with_other_fields_around():
    data = json.loads(json.dumps({"method": "lora", **two_rows().to_json(), "metrics": {}}, allow_nan=False))
    again = ScoreMatrix.from_json(data)
    assert again.to_json() == two_rows().to_json()
    np.testing.assert_array_equal(again.scores, two_rows().scores)


def test_csv_reads_back_to_the_same_numbers():
    matrix = two_rows().with_row("vizwiz", {"gqa": 100 / 3, "vizwiz": 0.1})
    lines = list(csv.reader(io.StringIO(matrix.as_csv())))
    assert lines[0] == ["after", "gqa", "vizwiz"]
    assert lines[2] == ["gqa", "60.25", ""]
    assert [line[0] for line in lines[1:]] == list(matrix.rows)
    back = [[float(cell) if cell else math.nan for cell in line[1:]] for line in lines[1:]]
    np.testing.assert_array_equal(back, matrix.scores)


def test_csv_quotes_a_task_name_with_a_comma():
    lines = list(csv.reader(io.StringIO(ScoreMatrix.empty(["a,b"]).as_csv())))
    assert lines == [["after", "a,b"], ["zero_shot", ""], ["a,b", ""]]


def test_summary_is_that_of_the_scores():
    rng = np.random.default_rng(3)
    scores = rng.uniform(0, 100, (5, 4))
    matrix = ScoreMatrix(tuple("abcd"), scores, np.ones((5, 4), dtype=np.int64))
    np.testing.assert_equal(matrix.summary(joint=[50.0] * 4), summarize(scores, joint=[50.0] * 4))


def test_a_joint_matrix_has_its_last_row_and_only_the_metrics_of_the_end():
    matrix = ScoreMatrix.empty(["gqa", "vizwiz"], "joint").with_row("zero_shot", {"gqa": 10.0, "vizwiz": 20.0})
    matrix = matrix.with_row("joint", {"gqa": 60.0, "vizwiz": 80.0}, {"gqa": 4, "vizwiz": 4})
    assert matrix.rows == ("zero_shot", "gqa", "joint")
    assert matrix.to_json()["scores"] == [[10.0, 20.0], [None, None], [60.0, 80.0]]
    found = {name: value for name, value in matrix.summary(joint=[70, 70]).items() if not math.isnan(value)}
    assert found == {"acc": 70.0, "zero_shot": 15.0, "retention": 1.0}
    again = ScoreMatrix.from_json(json.loads(json.dumps(matrix.to_json())))
    assert (again.training, again.rows) == ("joint", matrix.rows)


def test_a_joint_matrix_of_one_task_has_no_backward_transfer_either():
    matrix = ScoreMatrix.empty(["gqa"], "joint").with_row("joint", {"gqa": 60.0})
    assert math.isnan(matrix.summary()["bwt_coin"])
    assert math.isnan(matrix.summary()["learning_accuracy"])


def test_a_matrix_of_nothing_learned_has_the_zero_shot_mean():
    matrix = ScoreMatrix.empty(["a", "b"], "nothing").with_row(0, {"a": 10.0, "b": 30.0})
    found = {name: value for name, value in matrix.summary().items() if not math.isnan(value)}
    assert found == {"zero_shot": 20.0}
    assert matrix.to_json()["training"] == "nothing"


def test_rows_that_a_run_fills():
    assert positions(3) == [0, 1, 2, 3]
    assert positions(3, "joint") == [0, 3]
    assert positions(3, "nothing") == [0]
    with pytest.raises(ConfigError, match="training: 'all' is unknown; use one of sequence, joint, nothing"):
        ScoreMatrix.empty(["a"], "all")


def test_arrays_are_own_read_only_copies():
    scores = np.zeros((2, 1))
    matrix = ScoreMatrix(("a",), scores, np.ones((2, 1), dtype=np.int64))
    scores[0, 0] = 99.0
    assert matrix.score("zero_shot", "a") == 0.0
    with pytest.raises(ValueError, match="read-only"):
        matrix.scores[0, 0] = 1.0


def test_nan_becomes_null_and_nothing_else_changes():
    assert nan_to_none(math.nan) is None
    assert metrics_to_json({"acc": 1.5, "fwt": math.nan, "bwt": np.float64(-2)}) == {
        "acc": 1.5,
        "fwt": None,
        "bwt": -2.0,
    }


@pytest.mark.parametrize("tasks", [[], ["a", "a"], ["a", ""], ["zero_shot"], ["joint"]])
def test_bad_task_names_are_refused(tasks):
    with pytest.raises(ConfigError, match="give at least one name"):
        ScoreMatrix.empty(tasks)


@pytest.mark.parametrize(
    ("row", "scores", "counts", "message"),
    [
        ("gpa", {"gqa": 1.0}, None, "row 'gpa': the matrix has rows zero_shot, gqa, vizwiz"),
        (3, {"gqa": 1.0}, None, "row 3"),
        ("gqa", {"ocr": 1.0}, None, "task 'ocr': the matrix has gqa, vizwiz"),
        ("gqa", {"gqa": math.nan}, None, "score of 'gqa' after 'gqa': nan is not finite"),
        ("gqa", {"gqa": 1.0}, {"gqa": 0}, "count of 'gqa' after 'gqa': 0"),
        ("gqa", {"gqa": 1.0}, {"gqa": 2.5}, "2.5; give a positive integer"),
        ("gqa", {"gqa": 1.0}, {"vizwiz": 5}, "count of 'vizwiz'"),
    ],
)
def test_bad_rows_are_refused(row, scores, counts, message):
    with pytest.raises(ConfigError, match=message):
        two_rows().with_row(row, scores, counts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": ["gqa", "vizwiz"]}, "expected"),
        ({"scores": [[1.0, 2.0]]}, r"scores: shape \(1, 2\)"),
        ({"scores": [[1.0, 2.0], [1.0], [1.0, 2.0]]}, "rows of different length"),
        ({"scores": [["1", 2.0], [1.0, 2.0], [1.0, 2.0]]}, "holds '1'"),
        ({"scores": [[math.inf, 2.0], [1.0, 2.0], [1.0, 2.0]]}, "infinite"),
        ({"counts": [[1.5, None], [None, None], [None, None]]}, "holds 1.5"),
    ],
)
def test_bad_json_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        ScoreMatrix.from_json({**two_rows().to_json(), **change})


def test_absent_json_fields_are_named():
    with pytest.raises(ConfigError, match="no field rows, counts"):
        ScoreMatrix.from_json({"tasks": ["a"], "scores": [[None], [None]]})
