"""What CSV, TensorBoard and W&B hold after a run of three tasks with `evaluation=seen`."""

import csv
import json
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TASKS = ["scienceqa", "textvqa", "imagenet"]
BLOCK = 32768


@pytest.fixture(scope="module")
def logged(place) -> Path:
    """Run folder with all three loggers; no network is used."""
    board = "coin_lightning.reporting.loggers.tensorboard"
    more = ["logger=wandb", f"+logger.tensorboard._target_={board}", "+logger.tensorboard._partial_=true"]
    command = place.command("logged", *more, "evaluation=seen", "method=lora")
    status, text = place.runs.run(command, WANDB_MODE="offline")
    assert status == 0, text
    return place.folder / "logged"


def wandb_records(file: Path) -> Iterator[Any]:
    """Records of an offline run: a LevelDB log of protocol buffers behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or last part
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


@pytest.fixture(scope="module")
def history(logged: Path) -> list[dict[str, Any]]:
    files = list((logged / "logs" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 1
    return rows_of(files[0])


def rows_of(file: Path) -> list[dict[str, Any]]:
    found = [record.history for record in wandb_records(file) if record.WhichOneof("record_type") == "history"]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in found]


def test_offline_parts_of_a_killed_run_go_on(place):
    """A second start made a part whose own step began at 0 again; synced, it would have lain over the first."""
    command = place.command("killed_logs", "logger=wandb", "data.limit_test=1", tasks="gqa")
    status, text = place.runs.run([*command, *place.kill(1, "train", 7)], WANDB_MODE="offline")
    assert status == -signal.SIGKILL, text
    status, text = place.runs.run(command, WANDB_MODE="offline")
    assert status == 0, text
    files = sorted((place.folder / "killed_logs" / "logs" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    runs = [record.run for file in files for record in wandb_records(file) if record.HasField("run")]
    assert {(run.run_id, run.resume) for run in runs} == {(runs[0].run_id, True)}
    parts = [rows_of(file) for file in files]
    second = next(rows for rows in parts if any("experience" in row and row["experience"] for row in rows))
    assert all(row["_step"] == row["sequence_step"] for rows in parts for row in rows if "sequence_step" in row)
    assert [row["_step"] for row in second if "train/loss" in row] == [6, 7, 8, 9]  # saved behind step 6
    losses = {row["_step"]: row["train/loss"] for row in second if "train/loss" in row}
    first = next(rows for rows in parts if rows is not second)  # as much of it as W&B had written when it was killed
    assert all(losses.get(row["_step"], row["train/loss"]) == row["train/loss"] for row in first if "train/loss" in row)


@pytest.mark.parametrize("fails", ["make", "log_metrics", "finalize"])
def test_a_logger_that_fails_is_told_of_once_and_ends_nothing(place, undisturbed: Path, tmp_path: Path, fails: str):
    keys = {"_target_": "probes.broken_logger", "_partial_": "true", "fails": fails}
    more = [f"+logger.broken.{key}={value}" for key, value in keys.items()]
    status, text = place.runs.run([*place.brief("broken", *more), f"run_dir={tmp_path / 'run'}"])
    assert status == 0, text
    assert text.count("logger broken: ConnectionError: the service is gone; the run goes on without it") == 1
    assert (tmp_path / "run" / "report.html").is_file()
    rows = list(csv.DictReader((tmp_path / "run/logs/csv/task_01_gqa/metrics.csv").read_text().splitlines()))
    assert len([row for row in rows if row.get("train/loss")]) == 2  # the others log on


def test_wandb_keeps_its_own_files_below_the_run_where_there_is_no_home(place, tmp_path: Path):
    (tmp_path / "file").write_text("no folder can be below this")
    words = [*place.brief("homeless", "logger=wandb"), f"run_dir={tmp_path / 'run'}"]
    status, text = place.runs.run(words, WANDB_MODE="offline", HOME=str(tmp_path / "file" / "home"))
    assert status == 0, text
    assert "logger wandb" not in text
    assert list((tmp_path / "run" / "logs" / "wandb").glob("offline-run-*/*.wandb"))


def test_seen_fills_the_lower_triangle_and_zero_shot(logged: Path):
    matrix = json.loads((logged / "matrix.json").read_text())
    empty = [[score is None for score in row] for row in matrix["scores"]]
    assert empty == [[False] * 3, [False, True, True], [False, False, True], [False] * 3]
    assert [[count is None for count in row] for row in matrix["counts"]] == empty
    assert matrix["method"] == "lora"
    assert not (logged / "task_01_scienceqa" / "router.json").exists()
    assert {file.stem for file in (logged / "task_01_scienceqa" / "records").glob("*.jsonl")} == {"scienceqa"}


def test_wandb_has_one_axis_over_the_sequence(history):
    steps = [row["sequence_step"] for row in history]
    assert steps == sorted(steps)
    assert steps[-1] == 30
    losses = [row["sequence_step"] for row in history if "train/loss" in row]
    assert losses == list(range(30))
    assert all("sequence_step" in row for row in history if any(key.startswith("lr-") for key in row))


def test_wandb_has_scores_forgetting_metrics_table_and_image(history, logged: Path):
    rows = [row for row in history if "experience" in row]
    assert [(row["experience"], row["sequence_step"]) for row in rows] == [(0, 0), (1, 10), (2, 20), (3, 30)]
    scores = json.loads((logged / "matrix.json").read_text())["scores"]
    for row, expected in zip(rows, scores, strict=True):
        found = [row.get(f"score/{task}") for task in TASKS]
        assert found == expected
        assert row["score_matrix/_type"] == "table-file"
        assert row["score_matrix_image/_type"] == "image-file"
    assert rows[3]["forgetting/scienceqa"] == max(scores[1][0], scores[2][0]) - scores[3][0]
    assert {"metrics/acc", "metrics/bwt", "metrics/forgetting"} <= set(rows[3])
    media = [file.suffix for file in (logged / "logs" / "wandb").rglob("media/**/*") if file.is_file()]
    assert media.count(".png") == 4
    assert media.count(".json") == 4


def test_tensorboard_has_the_same_axis_and_the_image(logged: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses: list[int] = []
    scores: dict[int, float] = {}
    images: list[int] = []
    for file in (logged / "logs" / "tensorboard").glob("events.*"):
        events = EventAccumulator(str(file), size_guidance={"images": 0, "scalars": 0}).Reload()
        tags = [*events.Tags()["scalars"], *events.Tags()["images"]]
        losses += [event.step for event in events.Scalars("train/loss")] if "train/loss" in tags else []
        images += [event.step for event in events.Images("score_matrix")] if "score_matrix" in tags else []
        if "score/scienceqa" in tags:
            scores |= {event.step: event.value for event in events.Scalars("score/scienceqa")}
    assert sorted(losses) == list(range(30))
    assert sorted(images) == [0, 10, 20, 30]
    matrix = json.loads((logged / "matrix.json").read_text())["scores"]
    assert [scores[step] for step in (0, 10, 20, 30)] == pytest.approx([row[0] for row in matrix])


def test_csv_is_always_written(logged: Path, undisturbed: Path):
    for run in (logged, undisturbed):
        files = sorted((run / "logs" / "csv").glob("*/metrics.csv"))
        assert [file.parent.name for file in files][1:] == [f"task_0{at}_{task}" for at, task in enumerate(TASKS, 1)]
        rows = [row for file in files for row in csv.DictReader(file.read_text().splitlines())]
        assert [int(row["step"]) for row in rows if row.get("train/loss")] == list(range(30))
