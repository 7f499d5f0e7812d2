"""The numbers all loggers get."""

import csv
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from small_matrix import content, matrix

from coin_lightning.errors import RunError
from coin_lightning.reporting.experience_log import experience_scalars, log_experience
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import parse_matrix


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


def test_csv_and_tensorboard_get_the_same_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    csv_logger, board = CSVLogger(tmp_path, name="csv"), TensorBoardLogger(str(tmp_path), name="board")
    log_experience([csv_logger, board], RunArtifacts(tmp_path, matrix(), {}), 2, sequence_step=80)
    board.finalize("success")
    lines = Path(csv_logger.log_dir, "metrics.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines))
    assert (rows[0]["step"], float(rows[0]["score/b"]), float(rows[0]["forgetting/a"])) == ("80", 70, 20)
    assert float(rows[0]["task"]) == 2
    events = EventAccumulator(board.log_dir)
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("score/b")] == [(80, 70)]
    assert events.Images("score_matrix")[0].width > 500
