"""Checkpoints lie between optimizer steps, and there always is one: kills under accumulation and at epochs' ends."""

import signal
from pathlib import Path

import pytest
import torch

from coin_lightning.continual.checkpoint import TaskCheckpoint
from coin_lightning.errors import ConfigError
from results import results


def kills(place, name: str, more: list[str], moments: list[tuple[int, str, int]]) -> Path:
    """A run that is killed at each of the moments in turn and then ends; gives its folder."""
    command = place.command(name, *more, tasks="imagenet")
    for moment in moments:
        status, text = place.runs.run([*command, *place.kill(*moment)])
        assert status == -signal.SIGKILL, text
    status, text = place.runs.run(command)
    assert status == 0, text
    return place.folder / name


ACCUMULATE = ["trainer.accumulate_grad_batches=2", "batches.size=2", "data.limit_test=2"]


def test_two_kills_under_accumulation_end_with_the_same_bits(place):
    whole = kills(place, "whole_accumulation", ACCUMULATE, [])
    # behind step 3 (saved: 2), then in the middle of the first step after resuming
    moments = [(1, "train", 3), (1, "batch", 1), (1, "batch", 2)]
    assert results(kills(place, "killed_accumulation", ACCUMULATE, moments)) == results(whole)


def test_no_checkpoint_is_written_in_the_middle_of_a_step(place):
    command = place.command("middle", *ACCUMULATE, "callbacks.checkpoint.every_n_steps=1", tasks="imagenet")
    status, text = place.runs.run([*command, *place.kill(1, "train", 3)])
    assert status == -signal.SIGKILL, text
    file = place.folder / "middle" / "task_01_imagenet" / "last.ckpt"
    before = file.read_bytes()
    status, text = place.runs.run([*command, *place.kill(1, "batch", 1)])
    assert status == -signal.SIGKILL, text
    assert file.read_bytes() == before


@pytest.mark.parametrize(("every", "kill", "saved"), [(2, 5, 4), (100, 5, None)], ids=["2-5-4", "100-5-None"])
def test_saves_that_fall_on_the_end_of_an_epoch_are_made(place, every, kill, saved):
    """Three epochs of two steps."""
    more = ["batches.epochs=3", "data.limit_train=8", "data.limit_test=2"]
    more += [f"callbacks.checkpoint.every_n_steps={every}"]
    name = f"epochs_{every}_{kill}"
    command = place.command(name, *more, tasks="imagenet")
    status, text = place.runs.run([*command, *place.kill(1, "train", kill)])
    assert status == -signal.SIGKILL, text
    file = place.folder / name / "task_01_imagenet" / "last.ckpt"
    assert (torch.load(file, weights_only=True)["global_step"] if file.exists() else None) == saved
    status, text = place.runs.run(command)
    assert status == 0, text
    whole = kills(place, f"epochs_{every}_whole", more, []) if saved else None
    assert whole is None or results(place.folder / name) == results(whole)


def test_an_unreadable_checkpoint_is_named_and_the_remedy_works(place):
    more = ["data.limit_train=12", "data.limit_test=2"]
    whole = kills(place, "ckpt_whole", more, [])
    command = place.command("ckpt_broken", *more, tasks="imagenet")
    place.runs.run([*command, *place.kill(1, "train", 5)])
    file = place.folder / "ckpt_broken" / "task_01_imagenet" / "last.ckpt"
    sound = file.read_bytes()
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 1
    for damaged in (b"", sound[: len(sound) // 2], flipped):
        file.write_bytes(damaged)
        status, text = place.runs.run(command)
        assert status == 1, text
        assert f"error: {file}: is not what was written" in text
        assert "remove it to learn the task from its beginning" in text
        assert "Traceback" not in text
    file.unlink()
    status, text = place.runs.run(command)
    assert status == 0, text
    assert results(place.folder / "ckpt_broken") == results(whole)


def test_a_wrong_interval_is_refused():
    with pytest.raises(ConfigError, match=r"callbacks\.checkpoint\.every_n_steps=0"):
        TaskCheckpoint(every_n_steps=0)


def test_what_moved_before_a_kill_need_not_move_behind_it(place):
    """At the end of a schedule the rate is too small to move a weight: that the task has learned stands in its file."""
    more = ["schedule._target_=probes.fading", "~schedule.warmup_ratio", "data.limit_train=12", "data.limit_test=2"]
    whole = kills(place, "fading_whole", more, [])
    assert results(kills(place, "fading_killed", more, [(1, "train", 5)])) == results(whole)
