"""A run killed at every kind of moment ends with the same bits as one that was never disturbed."""

import csv
import json
import signal
from pathlib import Path

import pytest
from PIL import Image

from results import results
from small_coin import edit_samples, overrides, train_file, write_suite

TRAIN_FIELDS = ("steps", "samples", "tokens", "loss_first", "loss_last", "trainable_parameters", "checkpoint_bytes")


def trained(run: Path) -> list[list]:
    found = [json.loads(file.read_text()) for file in sorted(run.glob("task_*/train.json"))]
    return [[task[key] for key in TRAIN_FIELDS] for task in found]


@pytest.fixture(scope="module")
def killed(place) -> list[list[str]]:
    """Files of the run folder after each kill; then the run is brought to its end."""
    moments = [
        (1, "train", 1),  # before any checkpoint
        (2, "train", 3),  # behind the checkpoint of step 2, in the first epoch
        (2, "train", 9),  # behind the checkpoint of step 8, in the second epoch
        (2, "between", 0),  # weights saved, no question answered
        (3, "predict", 4),  # three batches of answers written
    ]
    found = []
    for moment in moments:
        status, text = place.runs.run(place.command("killed", "evaluation=full", *place.kill(*moment)))
        assert status == -signal.SIGKILL, text
        run = place.folder / "killed"
        found.append(sorted(str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()))
    status, text = place.runs.run(place.command("killed", "evaluation=full"))
    assert status == 0, text
    return found


def test_kills_hit_the_moments_they_were_meant_for(killed):
    early, first, second, between, answering = killed
    assert not any("task_01" in file and "csv" not in file for file in early)
    assert "task_02_textvqa/last.ckpt" in first
    assert "task_02_textvqa/last.ckpt" in second
    assert "task_02_textvqa/train.json" not in second
    assert {"task_02_textvqa/train.json", "task_02_textvqa/adapter/adapter_model.safetensors"} <= set(between)
    assert "task_02_textvqa/scores.json" not in between
    assert "task_02_textvqa/last.ckpt" not in between
    assert "task_03_imagenet/records/.partial/scienceqa.0.jsonl" in answering
    assert "task_03_imagenet/records/scienceqa.jsonl" not in answering


def test_ends_with_the_same_scores_weights_and_answers(place, undisturbed: Path, killed):
    assert results(place.folder / "killed") == results(undisturbed)
    matrices = [json.loads((run / "matrix.json").read_text()) for run in (place.folder / "killed", undisturbed)]
    for matrix in matrices:
        matrix.pop("cost")
    assert matrices[0] == matrices[1]


def test_cost_counts_both_halves(place, undisturbed: Path, killed):
    assert trained(place.folder / "killed") == trained(undisturbed)


def test_router_load_is_that_of_all_answers(place, undisturbed: Path, killed):
    file = Path("task_03_imagenet", "router.json")
    assert (place.folder / "killed" / file).read_bytes() == (undisturbed / file).read_bytes()


def test_curve_of_a_killed_task_is_kept_whole(place, killed):
    parts = sorted((place.folder / "killed" / "logs" / "csv").glob("task_02_textvqa*/metrics.csv"))
    assert len(parts) >= 3
    rows = [list(csv.DictReader(part.read_text().splitlines())) for part in parts[:3]]
    steps = [[int(row["step"]) for row in part if row.get("train/loss")] for part in rows]
    # on one axis, behind the ten steps of the first task; up to the kill, then from the checkpoint on
    assert steps[0] == [10, 11]
    assert steps[1][0] == 12
    assert steps[2] == [18, 19]


def test_summary_that_a_kill_prevented_is_written_later(place, killed):
    run = place.folder / "killed"
    before = results(run)
    full = (run / "matrix.json").read_bytes()
    stale = json.loads(full)
    stale["scores"][3] = [None] * 3
    (run / "matrix.json").write_text(json.dumps(stale))
    status, text = place.runs.run(place.command("killed", "evaluation=full"))
    assert status == 0, text
    assert json.loads((run / "matrix.json").read_text()) == json.loads(full)
    assert results(run) == before


def test_changed_settings_are_refused(place, killed):
    run = place.folder / "killed"
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    status, text = place.runs.run(place.command("killed", "evaluation=full", "adapter.num_experts=4"))
    assert status == 1
    assert "adapter.num_experts: 8 -> 4" in text
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def _another_sample(root: Path) -> None:
    edit_samples(train_file(root, "gqa"), lambda samples: samples[0]["conversations"][1].update(value="right"))


def _another_truth(root: Path) -> None:
    """Of the questions of later rows: half of a column would be scored by other answers than the rest."""
    file = root / "cl_dataset" / "GQA" / "testdev_balanced_questions.json"
    file.write_text(file.read_text().replace("left", "right"))


def _another_image(root: Path) -> None:
    """The questions are the same, and no `images.sha256` says what they are about."""
    Image.new("RGB", (44, 28), "yellow").save(root / "cl_dataset" / "shared" / "orange.jpg")


@pytest.mark.parametrize(
    ("change", "of"), [(_another_sample, "gqa"), (_another_truth, "gqa"), (_another_image, "imagenet, gqa")]
)
def test_changed_data_are_refused_in_the_middle_of_a_run(place, tmp_path: Path, change, of):
    root, run = write_suite(tmp_path / "suite"), tmp_path / "run"
    command = overrides(root, place.cache, run, tasks="imagenet,gqa")
    status, text = place.runs.run([*command, *place.kill(1, "train", 3)])
    assert status == -signal.SIGKILL, text
    change(root)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    status, text = place.runs.run(command)
    assert status == 1
    assert f"the data of {of} changed since this run was started" in text
    assert f"the data of {of} changed" in (run / "failed.json").read_text()  # for `runs`; all else is as it was
    (run / "failed.json").unlink()
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
