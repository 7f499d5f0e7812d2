"""The further sections of matrix.json: typed, with nulls as NaN, and refused when they are not what the format says."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_matrix import NULL, content

from coin_lightning.errors import RunError
from coin_lightning.reporting.run_matrix import parse_matrix

GRID = [[1, 2, 3], [4, NULL, NULL], [NULL, 5, NULL], [6, 7, 8]]
PROTOCOL = {"judge": "hf", "variant": "strict"}


def judge(**changes: Any) -> dict[str, Any]:
    section = {"scores": GRID, "counts": GRID, "unparsed": [[0] * 3] * 4, "metrics": {"acc": 7}, "protocol": PROTOCOL}
    return section | changes


def test_a_run_without_further_sections_has_none() -> None:
    matrix = parse_matrix(content())
    assert matrix.judges == {}
    assert matrix.variants == {}
    assert matrix.published is None
    assert np.isnan(matrix.differing).all()
    assert matrix.differing.shape == (4, 3)


def test_judges_are_read_and_can_take_the_place_of_the_scores() -> None:
    matrix = parse_matrix(content(judges={"a": judge(), "b": judge(protocol={"variant": "reference"})}))
    assert list(matrix.judges) == ["a", "b"]
    assert (matrix.judges["a"].strict, matrix.judges["b"].strict) == (True, False)
    view = matrix.judged("a")
    assert view.final.tolist() == [6, 7, 8]
    assert view.metrics == {"acc": 7.0}
    assert view.counts[1].tolist() == [4, 0, 0]
    assert matrix.final.tolist() == [50, 30, 80]


def test_variants_and_differing_rows_are_read() -> None:
    variants = {"reference": {"scores": GRID, "metrics": {"bwt": -1}}}
    matrix = parse_matrix(content(variants=variants, differing=GRID))
    assert matrix.scored("reference").zero_shot.tolist() == [1, 2, 3]
    assert matrix.scored("reference").metrics == {"bwt": -1.0}
    assert matrix.differing[3].tolist() == [6, 7, 8]
    assert math.isnan(matrix.differing[1, 1])


def test_the_published_reading_of_a_judge_may_go_below_zero() -> None:
    scores = [[-5, 2, 3], *GRID[1:]]
    assert parse_matrix(content(judges={"a": judge(scores=scores)})).judges["a"].scores[0, 0] == -5
    with pytest.raises(RunError, match="is -5"):
        parse_matrix(content(variants={"reference": {"scores": scores, "metrics": {}}}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"judges": []}, None),
        ({"judges": ["a"]}, "'judges' must hold an object of objects"),
        ({"judges": {"a": judge(scores=[[1]])}}, "'scores' must have 4 rows of 3"),
        ({"judges": {"a": judge(protocol=None)}}, "'protocol'"),
        ({"judges": {"a": judge(unparsed=[[-1] * 3] * 4)}}, r"unparsed\[0\]\[0\]"),
        ({"variants": {"reference": {"scores": GRID, "metrics": {"acc": "x"}}}}, r"metrics\['acc'\]"),
        ({"differing": [[1]]}, "'differing' must have"),
    ],
)
def test_what_the_format_does_not_allow_is_refused(changes: dict[str, Any], named: str | None) -> None:
    if named is None:
        assert parse_matrix(content(**changes)).judges == {}
        return
    with pytest.raises(RunError, match=named):
        parse_matrix(content(**changes), Path("some/matrix.json"))
