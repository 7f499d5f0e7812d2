"""Training that diverges stops at once, says with which samples, and keeps nothing of it."""

from pathlib import Path

import pytest

from small_coin import overrides

LEFT = {"last.ckpt", "manifest.json"}


@pytest.mark.parametrize("every", [1, 100])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_samples(place, tmp_path: Path, every: int):
    run = tmp_path / "run"
    few = ["data.limit_test=1", f"callbacks.checkpoint.every_n_steps={every}"]
    more = ["optimizer.lr=1e30", "trainer.gradient_clip_val=null", *few]
    command = overrides(place.suite, place.cache, run, *more, tasks="imagenet")
    for _ in range(2):  # the same command fails in the same way, and does not go on from broken weights
        status, text = place.runs.run(command)
        assert status == 1
        assert "error: training diverged" in text
        assert "Lower optimizer.lr" in text
        assert "Traceback" not in text
        assert {file.name for file in (run / "task_01_imagenet").rglob("*") if file.is_file()} <= {
            "last.ckpt",
            "manifest.json",
        }
    status, text = place.runs.run(
        [*overrides(place.suite, place.cache, run, *few, tasks="imagenet"), "optimizer.lr=1e-3"]
    )
    assert status == 1
    assert "optimizer.lr: 1e+30 -> 0.001" in text
    sound = overrides(place.suite, place.cache, run.with_name("other"), *few, tasks="imagenet")
    status, text = place.runs.run([*sound, "optimizer.lr=1e-3"])  # what the message says
    assert status == 0, text


def test_the_samples_of_the_batch_are_named(place, tmp_path: Path):
    more = ["optimizer.lr=1e30", "trainer.gradient_clip_val=null", "batches.size=2", "data.limit_test=1"]
    status, text = place.runs.run(overrides(place.suite, place.cache, tmp_path / "run", *more, tasks="imagenet"))
    assert status == 1
    assert text.count("imagenet_") >= 2 or "trainable tensors are not finite behind step 1" in text


def test_weights_that_break_in_the_last_step_are_not_kept(place, tmp_path: Path):
    more = ["+callbacks.probe._target_=probes.BreakWeights", "+callbacks.probe.step=10", "data.limit_test=1"]
    status, text = place.runs.run(overrides(place.suite, place.cache, tmp_path / "run", *more, tasks="imagenet"))
    assert status == 1
    assert "1 trainable tensors are not finite behind step 10 of the task" in text
    assert not (tmp_path / "run" / "task_01_imagenet" / "train.json").exists()
    assert not (tmp_path / "run" / "task_01_imagenet" / "adapter").exists()
