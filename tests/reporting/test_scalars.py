"""The numbers all loggers get."""

import pytest
from small_matrix import content, matrix

from coin_lightning.errors import RunError
from coin_lightning.reporting.run_matrix import parse_matrix
from coin_lightning.reporting.scalars import experience_scalars


def test_last_row_has_scores_forgetting_and_metrics() -> None:
    assert experience_scalars(matrix(), 3) == {
        "score/a": 50, "score/b": 30, "score/c": 80, "forgetting/a": 10, "forgetting/b": 40,
        "metrics/seen_mean": pytest.approx(160 / 3), "metrics/acc": 53.3}  # fmt: skip


def test_earlier_rows_have_no_metrics_of_the_whole() -> None:
    assert experience_scalars(matrix(), 0) == {"score/a": 10, "score/b": 20, "score/c": 5}
    assert experience_scalars(matrix(), 2) == {
        "score/a": 40,
        "score/b": 70,
        "forgetting/a": 20,
        "metrics/seen_mean": 55,
    }


def test_unfinished_row_is_refused() -> None:
    with pytest.raises(RunError, match="Row 4 is not finished"):
        experience_scalars(matrix(), 4)


def test_judges_have_their_own_names() -> None:
    grid = [[1, 2, None], [4, 5, 6], [7, 8, 9], [1, 1, 1]]
    section = {"scores": grid, "counts": grid, "unparsed": grid, "metrics": {}, "protocol": {}}
    judged = parse_matrix(content(judges={"near": section}))
    found = {key: value for key, value in experience_scalars(judged, 0).items() if key.startswith("judge/")}
    assert found == {"judge/near/a": 1, "judge/near/b": 2}
