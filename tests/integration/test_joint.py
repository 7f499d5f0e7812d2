"""Runs without a sequence: all tasks at once, and none at all."""

import json
import re
import signal
from pathlib import Path

import pytest

TASKS = ["scienceqa", "textvqa", "grounding"]
JOINT = ("scenario.joint=true", "evaluation=seen")


def read(file: Path):
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def joint(place) -> Path:
    """Run folder of the union of three tasks; `joint_recorded` is what `probes.Recorder` saw."""
    command = place.command("joint", *JOINT, *place.record("joint_recorded"), tasks=",".join(TASKS))
    status, text = place.runs.run(command, PAGE="1")
    assert status == 0, text
    (place.folder / "joint.txt").write_text(text)
    return place.folder / "joint"


def test_there_are_two_experiences_and_the_last_asks_all_tasks(joint: Path):
    assert sorted(folder.name for folder in joint.glob("task_*")) == ["task_00_zero_shot", "task_03_joint"]
    matrix = read(joint / "matrix.json")
    assert matrix["rows"] == ["zero_shot", "scienceqa", "textvqa", "joint"]
    assert matrix["training"] == "joint"
    assert matrix["counts"] == [[4] * 3, [None] * 3, [None] * 3, [4] * 3]
    defined = {name for name, value in matrix["metrics"].items() if value is not None}
    assert defined == {"acc", "zero_shot"}
    assert matrix["metrics"]["acc"] == pytest.approx(sum(matrix["scores"][3]) / 3)


def test_every_epoch_mixes_the_samples_of_all_tasks(place, joint: Path):
    seen = read(place.folder / "joint_recorded" / "3.0.json")
    assert len(seen["batches"]) == 30  # 60 samples in fours, two epochs
    for part in (seen["batches"][:15], seen["batches"][15:]):
        ids = [id_ for batch in part for id_ in batch]
        assert sorted(ids) == sorted(f"{task}_{number}" for task in TASKS for number in range(20))
    mixed = [len({id_.split("_")[0] for id_ in batch}) for batch in seen["batches"]]
    assert sum(kinds > 1 for kinds in mixed) > 8  # samples of one task are of like length: many batches are of one task
    assert read(joint / "task_03_joint" / "train.json")["samples"] == 120
    assert read(joint / "plan.json")["tasks"][0]["steps"] == 30


def test_exactly_the_trainable_weights_moved(place, joint: Path):
    seen = read(place.folder / "joint_recorded" / "3.0.json")
    moved = {name for name, value in seen["before"].items() if seen["after"][name] != value}
    assert moved == set(seen["trainable"])


def test_a_projector_that_is_reinitialised_between_tasks_stays_before_the_first(place, joint: Path):
    name = "joint_published"
    words = [*JOINT, "protocol.projector=reinitialised", "batches.epochs=1", *place.record(f"{name}_recorded")]
    status, text = place.runs.run(place.command(name, *words, tasks=",".join(TASKS)))
    assert status == 0, text
    before = [read(place.folder / folder / "3.0.json")["before"] for folder in ("joint_recorded", f"{name}_recorded")]
    assert before[0] == before[1]


def test_page_and_terminal_have_the_joint_row(place, joint: Path):
    text = (place.folder / "joint.txt").read_text()
    assert "ScienceQA + TextVQA + Grounding" in text
    assert re.findall(r"\[3/3\] joint learning (?:15|30)/\d+", text) == [
        f"[3/3] joint learning {step}/30" for step in (15, 30)
    ]  # of two passes
    page = (joint / "report.html").read_text()
    assert "after learning all tasks at once" in page
    assert not (joint / "figures" / "forgetting_curves.png").exists()


def test_killed_and_resumed_gives_the_same_bits(place, joint: Path):
    command = place.command("joint_killed", *JOINT, tasks=",".join(TASKS))
    for moment in ((3, "train", 21), (3, "predict", 2)):
        status, text = place.runs.run([*command, *place.kill(*moment)])
        assert status == -signal.SIGKILL, text
    status, text = place.runs.run(command)
    assert status == 0, text
    killed = place.folder / "joint_killed"
    for pattern in ("task_*/records/*.jsonl", "task_*/adapter/*.safetensors", "matrix.csv", "metrics.json"):
        files = sorted(file.relative_to(joint) for file in joint.glob(pattern))
        assert files
        assert all((killed / file).read_bytes() == (joint / file).read_bytes() for file in files)


def test_the_same_command_again_changes_nothing(place, joint: Path):
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in joint.rglob("*") if file.is_file()}
    command = place.command("joint", *JOINT, *place.record("joint_recorded"), tasks=",".join(TASKS))
    assert place.runs.run(command, PAGE="1")[0] == 0
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in joint.rglob("*") if file.is_file()} == before


def test_a_run_that_trains_nothing_has_the_zero_shot_row_only(place, joint: Path):
    command = place.command("untrained", "scenario.train=false", tasks=",".join(TASKS))
    for _ in range(2):
        status, text = place.runs.run(command, PAGE="1")
        assert status == 0, text
    run = place.folder / "untrained"
    assert [folder.name for folder in run.glob("task_*")] == ["task_00_zero_shot"]
    matrix = read(run / "matrix.json")
    assert matrix["scores"] == [read(joint / "matrix.json")["scores"][0], *[[None] * 3] * 3]
    assert {name for name, value in matrix["metrics"].items() if value is not None} == {"zero_shot"}
    assert "Unfinished run" not in (run / "report.html").read_text()
