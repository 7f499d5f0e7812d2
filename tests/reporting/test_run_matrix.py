"""RunMatrix: changes, forgetting and refusals, worked out by hand on three tasks."""

import json
from typing import Any

import numpy as np
import pytest
from small_matrix import NULL, SCORES, content, matrix

from coin_lightning.errors import RunError
from coin_lightning.reporting.run_matrix import load_matrix, parse_matrix


def test_null_becomes_nan_and_counts_zero() -> None:
    parsed = matrix()
    assert np.isnan(parsed.scores[2, 2])
    assert parsed.counts[0].tolist() == [4, 4, 0]
    assert parsed.metrics == {"acc": 53.3, "fwt": None}


def test_diagonal_and_final_row() -> None:
    assert matrix().immediate.tolist() == [60, 70, 80]
    assert matrix().final.tolist() == [50, 30, 80]


def test_change_is_against_own_training_below_and_zero_shot_above_the_diagonal() -> None:
    expected = [[np.nan] * 3, [50, -5, 0], [-20, 50, np.nan], [-10, -40, 75]]
    np.testing.assert_array_equal(matrix().change(), expected)


def test_forgetting_is_from_the_best_earlier_score() -> None:
    np.testing.assert_array_equal(matrix().forgetting(3), [10, 40, np.nan])
    np.testing.assert_array_equal(matrix().forgetting(2), [20, np.nan, np.nan])
    assert np.isnan(matrix().forgetting(0)).all()
    gap = [[10, 20, 5], [NULL, 15, 5], [40, 70, 5], [50, 30, 80]]  # the best of what is left would be a guess
    np.testing.assert_array_equal(matrix(gap).forgetting(3), [np.nan, 40, np.nan])


def test_the_mean_of_the_tasks_seen() -> None:
    np.testing.assert_allclose(matrix().seen_mean, [np.nan, 60, (40 + 70) / 2, (50 + 30 + 80) / 3])
    assert np.isnan(matrix([[10, 20, 5], [60, 15, 5], [NULL, 70, 5], [50, 30, 80]]).seen_mean[2])


@pytest.mark.parametrize(("finished", "last"), [(0, -1), (1, 0), (3, 2), (4, 3)])
def test_last_row_of_a_partial_run(finished: int, last: int) -> None:
    scores = [row if index < finished else [NULL] * 3 for index, row in enumerate(SCORES)]
    assert matrix(scores).last == last
    assert matrix(scores).is_complete == (last == 3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"scores": [[1, 2, 3]]}, "'scores' must have 4 rows of 3"),
        ({"scores": [[1, 2, "x"], *SCORES[1:]]}, r"scores\[0\]\[2\] \(c\) is 'x'"),
        ({"scores": [[1, 2, -3], *SCORES[1:]]}, "is -3"),
        ({"scores": [[True, 2, 3], *SCORES[1:]]}, "is True"),
        ({"tasks": ["a", "a", "c"]}, "'tasks'"),
        ({"seed": "one"}, "'seed' is 'one', expected an integer"),
        ({"metrics": {"acc": "high"}}, r"metrics\['acc'\]"),
    ],
)
def test_refuses_what_the_format_does_not_allow(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(RunError, match=named):
        parse_matrix(content(**changes))


def test_load_names_the_file(tmp_path: Any) -> None:
    with pytest.raises(RunError, match=r"matrix\.json: is missing; give the command of the run again"):
        load_matrix(tmp_path)
    (tmp_path / "matrix.json").write_text('{"tasks": [', encoding="utf-8")
    with pytest.raises(RunError, match=r"matrix\.json: cannot be read as JSON"):
        load_matrix(tmp_path)
    (tmp_path / "matrix.json").write_text(json.dumps(content()), encoding="utf-8")
    assert load_matrix(tmp_path / "matrix.json").tasks == ("a", "b", "c")


JOINT = [[10, 20, 5], [NULL] * 3, [NULL] * 3, [50, 60, 4]]


def test_a_joint_run_has_two_rows_and_is_compared_with_zero_shot() -> None:
    run = parse_matrix(content(JOINT, learned="joint"))
    assert run.rows == ("zero_shot", "a", "b", "joint")
    assert (run.filled, run.shown, run.last, run.is_complete) == ([0, 3], [0, 3], 3, True)
    assert np.isnan(run.immediate).all()
    assert run.change()[3].tolist() == [40, 40, -1]
    assert np.isnan(run.forgetting(3)).all()
    assert not run.is_own(3, 2)


def test_a_run_without_training_is_complete_with_its_first_row() -> None:
    run = parse_matrix(content([[10, 20, 5], *[[NULL] * 3] * 3], training="nothing"))
    assert (run.filled, run.is_complete) == ([0], True)
    assert run.final.tolist() == [10, 20, 5]
    with pytest.raises(RunError, match="'training' is 'much', expected one of sequence, joint, nothing"):
        parse_matrix(content(training="much"))


def test_rows_still_to_come_are_shown_in_a_sequence() -> None:
    run = matrix([SCORES[0], *[[NULL] * 3] * 3])
    assert (run.filled, run.shown) == ([0], [0, 1, 2, 3])
    assert [run.is_own(row, 1) for row in range(4)] == [False, False, True, False]


@pytest.mark.parametrize(("divisor", "key"), [("tasks", "bwt_coin"), ("tasks_minus_one", "bwt"), (None, "bwt")])
def test_the_protocol_names_the_headline_bwt(divisor: str | None, key: str) -> None:
    assert parse_matrix(content(protocol={"bwt_divisor": divisor})).headline_bwt == key
