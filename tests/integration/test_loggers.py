"""What CSV, TensorBoard and W&B hold after a run of three tasks with `evaluation=seen`."""

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coin_lightning.reporting.wandb_files import read_records
from coin_lightning.reporting.wandb_history import OPEN

TASKS = ["scienceqa", "textvqa", "imagenet"]
SECRETS = {
    "OPENAI_API_KEY": "sk-of-the-judge-0123456789", "WANDB_API_KEY": "f" * 40, "HF_TOKEN": "hf_ofTheHub0123456789abc",
}  # fmt: skip
KEEPER = {
    "_target_": "probes.Keeper", "api_token": "a-token-in-the-config", "address": "https://me:my-password@example.org/a",
}  # fmt: skip


@pytest.fixture(scope="module")
def logged(place) -> Path:
    """Run folder with all three loggers; no network is used."""
    board = "coin_lightning.reporting.loggers.tensorboard"
    more = ["logger=wandb", f"+logger.tensorboard._target_={board}", "+logger.tensorboard._partial_=true"]
    more += [f"+callbacks.keeper.{key}={value}" for key, value in KEEPER.items()]
    command = place.command("logged", *more, "evaluation=seen", "method=lora")
    status, text = place.runs.run(command, WANDB_MODE="offline", **SECRETS)
    assert status == 0, text
    return place.folder / "logged"


def parts(run: Path) -> list[Path]:
    """W&B's files of a run."""
    return sorted((run / "logs" / "wandb").glob("offline-run-*/*.wandb"))


def of_kind(files: list[Path], kind: str) -> list[Any]:
    """Records of one kind, in order."""
    found = [record for file in files for record in read_records(file)]
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def rows_of(files: list[Path]) -> list[dict[str, Any]]:
    """Steps as W&B has them."""
    rows = of_kind(files, "history")
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in rows]


@pytest.fixture(scope="module")
def history(logged: Path) -> list[dict[str, Any]]:
    assert len(parts(logged)) == 1
    return rows_of(parts(logged))


def whole_until(part: Path) -> int:
    """Where the last record of a file ends that is whole."""
    data, at, whole = part.read_bytes(), 7, 7
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        at += 7 + int.from_bytes(data[at + 4 : at + 6], "little")
        whole = at if at <= len(data) else whole
    return whole


def curves(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What is drawn, by W&B's own step, each of which is there once and in order."""
    steps = [row["_step"] for row in rows]
    assert steps == sorted(set(steps))
    drawn = ("train/", "score/", "forgetting/", "metrics/", "lr-", "sequence_step", "task")
    return {row["_step"]: {key: value for key, value in row.items() if key.startswith(drawn)} for row in rows}


def continued(place: Any, name: str, kills: list[list[str]], *more: str) -> Path:
    """The run folder of a run that is killed so often, and goes on each time."""
    command = place.command(name, "logger=wandb", "data.limit_test=1", "seed=3", *more, tasks="gqa,vizwiz")
    for kill in kills:
        status, text = place.runs.run([*command, *kill], WANDB_MODE="offline")
        assert status == -signal.SIGKILL, text
    status, text = place.runs.run(command, WANDB_MODE="offline")
    assert status == 0, text
    return Path(place.folder / name)


@pytest.fixture(scope="module")
def whole(place: Any) -> Path:
    """The same run, never killed."""
    return continued(place, "whole_logs", [])


def test_a_killed_run_goes_on_as_one_curve(place: Any, whole: Path):
    """W&B's process dies with ours: of so short a run it leaves an empty file, of a longer one a cut record."""
    kills = [place.kill(1, "train", 7), place.kill(1, "predict", 1), place.kill(2, "train", 5)]
    run = continued(place, "killed_logs", kills)
    runs = of_kind(parts(run), "run")
    assert {(each.run_id, each.resume) for each in runs} == {((run / "logs" / "wandb_id.txt").read_text(), True)}
    assert len(runs) == len(parts(run)) >= 2  # `wandb sync` gives up all of them for one that is empty
    assert all(whole_until(part) == part.stat().st_size for part in parts(run))  # or ends in a record
    assert curves(rows_of(parts(run))) == curves(rows_of(parts(whole)))
    assert len(curves(rows_of(parts(run)))) == 3 + 20  # rows of the matrix, and steps


def test_a_run_that_was_killed_behind_its_last_scores_tells_wandb_the_rest(place: Any, whole: Path, tmp_path: Path):
    run = Path(shutil.copytree(whole, place.folder / "untold_logs"))
    for part in (run / "logs" / "wandb").glob("offline-run-*"):
        shutil.rmtree(part)  # a kill of all processes leaves no more
    (run / "logs" / OPEN).touch()
    continued(place, "untold_logs", [])
    assert curves(rows_of(parts(run))) == curves(rows_of(parts(whole)))
    assert not (run / "logs" / OPEN).exists()
    continued(place, "untold_logs", [])
    assert len(parts(run)) == 1


def test_a_run_that_is_asked_to_end_loses_no_step_of_its_logs(place: Any, whole: Path):
    command = place.command("ended_logs", "logger=wandb", "data.limit_test=1", "seed=3", tasks="gqa,vizwiz")
    values = {"_target_": "probes.SignalAt", "position": 1, "moment": "train", "step": 3, "number": int(signal.SIGTERM)}
    ended = [f"+callbacks.signal.{key}={value}" for key, value in values.items()]
    status, text = place.runs.run([*command, *ended], WANDB_MODE="offline")
    assert status == 143, text
    status, text = place.runs.run(command, WANDB_MODE="offline")
    assert status == 0, text
    run = place.folder / "ended_logs"
    assert curves(rows_of(parts(run))) == curves(rows_of(parts(whole)))
    assert [each.exit_code for each in of_kind(parts(run), "exit")] == [1, 0]
    files = [file.read_text().splitlines() for file in sorted((run / "logs/csv").glob("*/metrics.csv"))]
    lines = [line for text in files for line in csv.DictReader(text)]
    assert sorted(int(line["step"]) for line in lines if line.get("train/loss")) == list(range(20))


def test_loggers_that_fail_are_told_of_once_and_end_nothing(place, tmp_path: Path):
    kinds, more = ("make", "log_metrics", "finalize"), []
    for fails in kinds:
        keys = {"_target_": "probes.broken_logger", "_partial_": "true", "fails": fails}
        more += [f"+logger.{fails}.{key}={value}" for key, value in keys.items()]
    status, text = place.runs.run([*place.brief("broken", *more), f"run_dir={tmp_path / 'run'}"])
    assert status == 0, text
    for fails in kinds:
        assert text.count(f"logger {fails}: ConnectionError: the service is gone; the run goes on without it") == 1
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


def test_judging_that_a_kill_has_cut_off_reaches_wandb(place, logged: Path, tmp_path: Path):
    """The run is complete but for its judge, whose work several processes leave to the end."""
    run = tmp_path / "run"
    shutil.copytree(logged, run)
    without = place.command("logged", "logger=wandb", "evaluation=seen", "method=lora", f"run_dir={run}")
    (run / "logs" / OPEN).touch()
    status, text = place.runs.run([*without, "judge=embedding"], WANDB_MODE="offline")
    assert status == 0, text
    judged = [row for row in rows_of(parts(run)) if any(key.startswith("judge/") for key in row)]
    assert [row["task"] for row in judged] == [0, 1, 2, 3]
    assert not (run / "logs" / OPEN).exists()


def test_seen_fills_the_lower_triangle_and_zero_shot(logged: Path):
    matrix = json.loads((logged / "matrix.json").read_text())
    empty = [[score is None for score in row] for row in matrix["scores"]]
    assert empty == [[False] * 3, [False, True, True], [False, False, True], [False] * 3]
    assert [[count is None for count in row] for row in matrix["counts"]] == empty
    assert matrix["method"] == "lora"
    assert not (logged / "task_01_scienceqa" / "router.json").exists()
    assert {file.stem for file in (logged / "task_01_scienceqa" / "records").glob("*.jsonl")} == {"scienceqa"}


def test_wandb_has_one_axis_over_the_sequence(history, logged: Path):
    losses = {row["_step"]: row["sequence_step"] for row in history if "train/loss" in row}
    assert list(losses.values()) == list(range(30))
    assert losses == {1 + step + step // 10: step for step in range(30)}  # a row of the matrix before each task
    assert all("sequence_step" in row for row in history if any(key.startswith("lr-") for key in row))
    metrics = of_kind(parts(logged), "metric")
    axes = {each.glob_name: each.step_metric for each in metrics if each.glob_name}
    tasks = dict.fromkeys(["score/*", "forgetting/*", "metrics/*", "judge/*"], "task")
    assert axes == {"train/*": "sequence_step", "lr-*": "sequence_step", **tasks}


def test_wandb_has_scores_forgetting_metrics_table_and_image(history, logged: Path):
    rows = [row for row in history if "task" in row]
    assert [(row["task"], row["sequence_step"], row["_step"]) for row in rows] == [
        (0, 0, 0), (1, 10, 11), (2, 20, 22), (3, 30, 33)]  # fmt: skip
    scores = json.loads((logged / "matrix.json").read_text())["scores"]
    for row, expected in zip(rows, scores, strict=True):
        found = [row.get(f"score/{task}") for task in TASKS]
        assert found == expected
        assert row["score_matrix/_type"] == "table-file"
        assert row["score_matrix_image/_type"] == "image-file"
    assert rows[3]["forgetting/scienceqa"] == max(scores[1][0], scores[2][0]) - scores[3][0]
    assert {"metrics/acc", "metrics/bwt", "metrics/forgetting"} <= set(rows[3])
    (files,) = (logged / "logs" / "wandb").glob("offline-run-*/files")
    table = json.loads((files / rows[3]["score_matrix/path"]).read_text())
    assert [line[1:] for line in table["data"]] == scores


def test_wandb_shows_example_answers_with_their_images(history, logged: Path):
    assert sum("examples/path" in row for row in history) == 3  # behind each task
    tables = [each for each in of_kind(parts(logged), "artifact") if each.name.endswith("-examples")]
    held = {entry.path: Path(entry.local_path) for entry in tables[-1].manifest.contents}
    assert all(file.is_relative_to(logged) for file in held.values())  # with the run, until it is synced
    table = json.loads(held["examples.table.json"].read_text())
    lines = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
    assert {line["task"] for line in lines} == set(TASKS)
    answers = (logged / "task_03_imagenet/records/textvqa.jsonl").read_text().splitlines()
    expected = {str(answer["question_id"]): answer["prediction"] for answer in map(json.loads, answers)}
    assert {line["question_id"]: line["now"] for line in lines if line["task"] == "textvqa"} == expected
    images = [held[line["image"]["path"]] for line in lines if line["image"]]
    assert len(images) == 10  # every other ScienceQA sample has none
    for image in images:
        with Image.open(image) as opened:
            assert opened.height == 28


def test_wandb_gets_each_adapter_as_the_next_version_of_one_artifact(logged: Path):
    run_id, artifacts = (logged / "logs" / "wandb_id.txt").read_text(), of_kind(parts(logged), "artifact")
    adapters = [each for each in artifacts if each.type == "adapter"]
    folders = [f"task_0{at}_{task}" for at, task in enumerate(TASKS, 1)]
    assert {each.name for each in adapters} == {f"adapter-{run_id}"}
    assert [sorted(each.aliases) for each in adapters] == [["latest", folder] for folder in folders]
    told = [json.loads(each.metadata) for each in adapters]
    assert [each["continues"] for each in told] == [None, *(f"adapter-{run_id}:{folder}" for folder in folders[:-1])]
    for each, folder in zip(adapters, folders, strict=True):
        held = {entry.path: Path(entry.local_path) for entry in each.manifest.contents}
        assert set(held) == {file.name for file in (logged / folder / "adapter").iterdir()}
        assert held["adapter_model.safetensors"] == logged / folder / "adapter" / "adapter_model.safetensors"


def test_wandb_runs_are_grouped_and_named_and_have_a_flat_config(logged: Path, place: Any):
    (run,) = of_kind(parts(logged), "run")
    config = {each.key: json.loads(each.value_json) for each in run.config.update}
    assert (run.run_group, run.display_name) == (config["experiment_name"], "logged")
    assert (config["adapter/rank"], config["method/name"], config["scenario/order"]) == (8, "lora", TASKS)
    assert not [key for key, value in config.items() if isinstance(value, dict) and value and key != "_wandb"]
    assert config["callbacks/keeper/api_token"] == "(hidden)"
    assert config["callbacks/keeper/address"] == "https://(hidden)@example.org/a"


def test_no_secret_reaches_what_wandb_writes(logged: Path):
    secrets = [*SECRETS.values(), KEEPER["api_token"], "my-password"]
    files = [file for file in (logged / "logs").rglob("*") if file.is_file() and "csv" not in file.parts]
    assert len(files) > 20
    for file in files:
        content = file.read_bytes()
        assert [secret for secret in secrets if secret.encode() in content] == [], file


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
