"""Two gloo processes, as `torchrun` starts them: same weights on both ranks, every question answered once."""

import json
from pathlib import Path

import pytest

from ranks import together

TASKS = ["scienceqa", "imagenet"]

pytestmark = pytest.mark.ddp


@pytest.fixture(scope="module")
def shared_run(place) -> Path:
    """Run folder of two ranks. ScienceQA's batches without an image leave the projector of a rank unused."""
    more = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "batches.size=2"]
    more += ["protocol.global_batch=4", "judge._target_=probes.FixedJudge"]
    command = place.command("ddp", *more, *place.record("ddp_recorded"), tasks=",".join(TASKS))
    done = together(place, command)
    assert [status for status, _ in done] == [0, 0], done[0][1] + done[1][1]
    (place.folder / "ddp.txt").write_text(done[0][1])
    assert done[1][1].strip() == ""  # the second rank says nothing
    return place.folder / "ddp"


@pytest.mark.usefixtures("shared_run")
def test_ranks_hold_the_same_weights_and_learn_different_samples(place):
    for position, task in enumerate(TASKS, 1):
        first, second = (
            json.loads((place.folder / "ddp_recorded" / f"{position}.{rank}.json").read_text()) for rank in (0, 1)
        )
        assert first["before"] == second["before"]
        assert first["after"] == second["after"]
        moved = {name for name, value in first["before"].items() if first["after"][name] != value}
        assert moved == set(first["trainable"])
        steps = zip(first["batches"], second["batches"], strict=True)
        learned = [id_ for one, two in list(steps)[:5] for id_ in one + two]
        assert sorted(learned) == sorted(f"{task}_{number}" for number in range(20))


def test_every_question_is_answered_once(shared_run: Path):
    for folder, tasks in (("task_00_zero_shot", TASKS), ("task_02_imagenet", TASKS), ("task_01_scienceqa", TASKS[:1])):
        for task in tasks:
            lines = (shared_run / folder / "records" / f"{task}.jsonl").read_text().splitlines()
            assert [json.loads(line)["question_id"] for line in lines] == [str(1000 + number) for number in range(4)]


def test_one_matrix_is_written(place, shared_run: Path):
    matrix = json.loads((shared_run / "matrix.json").read_text())
    assert matrix["counts"] == [[4, 4], [4, None], [4, 4]]
    assert matrix["protocol"]["batch"] == "2 x 1 x 2"
    assert [task["steps"] for task in matrix["cost"]["per_task"]] == [10, 10]
    assert matrix["judges"]["fixed_seven"]["counts"] == matrix["counts"]  # judged at the end, by the first rank
    assert json.loads((shared_run / "plan.json").read_text())["tasks"][0]["global_batch"] == 4
    assert not list(shared_run.rglob("*.tmp"))
    assert "Warning" not in (place.folder / "ddp.txt").read_text()


def test_the_reason_that_is_kept_is_that_of_the_process_that_failed(place):
    """The first one only loses its connection, and fails behind it."""
    more = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "protocol.global_batch=4", "batches.size=2"]
    more += ["+callbacks.fail._target_=probes.FailAt", "+callbacks.fail.step=1", "+callbacks.fail.rank=1"]
    done = together(place, place.brief("fails_in_the_second", *more))
    assert [status for status, _ in done] == [1, 1], done
    assert "a bug in a callback" in done[1][1]
    assert "a bug in a callback" not in done[0][1]
    kept = json.loads((place.folder / "fails_in_the_second" / "failed.json").read_text())
    assert kept == {"error": "process 1: ZeroDivisionError: a bug in a callback", "early": False}
    done = together(place, place.brief("fails_in_the_second", *more[:-3]))
    assert [status for status, _ in done] == [0, 0], done
    assert not (place.folder / "fails_in_the_second" / "failed.json").exists()
