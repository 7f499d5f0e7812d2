"""Arithmetic of the estimate, and what is printed without a terminal."""

import io
import json
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from coin_lightning.continual import progress
from coin_lightning.continual.progress import Pace, SequenceProgress, clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_pace_is_the_mean_so_far():
    pace = Pace()
    assert pace.estimate(10) is None
    assert pace.estimate(0) == 0
    pace.add(4, 2.0)
    pace.add(4, 6.0)
    assert pace.estimate(3) == pytest.approx(3.0)  # 8 s for 8 units


class Loop:
    """Two tasks of 10 training and 4 test samples; every evaluation asks both. Zero-shot is done, task 1 is trained;
    `took` seconds each, or nobody knows."""

    def __init__(self, tmp_path, done=(0,), trained=(1,), took: float | None = None) -> None:
        task = SimpleNamespace(name="a", train_samples=[0] * 10, test_samples=[0] * 4, epochs=2, batch_size=5)
        self.scenario = SimpleNamespace(tasks=[task, task], train_tasks={1: task, 2: task})
        self.suite = SimpleNamespace(tasks_after=lambda index, tasks: tasks)
        for index in trained:
            (tmp_path / str(index)).mkdir()
            cost = {"samples": 0 if took is None else 20, "seconds": took or 0.0}
            (tmp_path / str(index) / "train.json").write_text(json.dumps(cost))
        folder = lambda index: tmp_path / str(index)  # noqa: E731
        scores = {position: {"answers": 0 if took is None else 8, "seconds": took or 0.0} for position in done}
        self.run = SimpleNamespace(scores=lambda: scores, folder=folder, positions=[0, 1, 2])
        self.experience = SimpleNamespace(position=2, name="a", task=task, resume_from=None)


def made(width: int = 120) -> tuple[SequenceProgress, io.StringIO]:
    out = io.StringIO()
    return SequenceProgress(Console(file=out, width=width)), out


def test_work_that_is_left_is_counted_from_the_folder(tmp_path):
    bar, _ = made()
    bar.follow(Loop(tmp_path))
    assert (bar.left_samples, bar.left_answers) == (20, 16)
    assert bar.remaining() is None
    bar.training.add(10, 5.0)
    assert bar.remaining() is None  # nothing was answered yet
    bar.answering.add(4, 1.0)
    assert bar.remaining() == pytest.approx(20 * 0.5 + 16 * 0.25)


def test_the_pace_of_before_counts_until_there_is_one(tmp_path):
    """After a kill, and where the zero-shot answers are another run's."""
    bar, _ = made()
    bar.follow(Loop(tmp_path, took=4.0))
    assert bar.remaining() == pytest.approx(20 * 4 / 20 + 16 * 4 / 8)
    bar.answering.add(8, 12.0)
    bar._count(Loop(tmp_path, trained=(), took=4.0))  # earlier work is not counted a second time
    assert bar.answering.estimate(1) == pytest.approx(16 / 16)


@pytest.mark.parametrize(("size", "steps", "left"), [(5, 3, 5), (4, 1, 16), (4, 3, 10), (4, 4, 6), (4, 6, 0)])
def test_steps_before_a_kill_are_taken_off(size: int, steps: int, left: int, tmp_path):
    """Two passes over 10 samples: a step is a batch, and the last of a pass is smaller where 4 fit into it."""
    bar, _ = made()
    loop = Loop(tmp_path)
    bar.follow(loop)
    loop.experience.resume_from, loop.experience.task.batch_size = tmp_path, size
    module = SimpleNamespace(total_steps=2 * -(-10 // size))
    bar.on_train_start(SimpleNamespace(global_step=steps, accumulate_grad_batches=1, world_size=1), module)
    assert bar.left_samples == left


MODULE = SimpleNamespace(total_steps=4)


def trainer(loss: float, step: int) -> SimpleNamespace:
    metrics = {"train/loss": torch.tensor(loss)}
    return SimpleNamespace(world_size=1, num_training_batches=2, callback_metrics=metrics, global_step=step)


def test_a_log_gets_a_line_now_and_then_and_at_the_end_of_an_epoch(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    bar, out = made()
    bar.follow(Loop(tmp_path))
    bar.on_train_start(SimpleNamespace(global_step=0, accumulate_grad_batches=1, world_size=1), MODULE)
    bar.answering.add(16, 16.0)
    now = 1010.0
    bar.on_train_batch_end(trainer(2.5, 1), MODULE, None, {"ids": [0] * 10}, 0)
    now = 1011.0
    bar.on_train_batch_end(trainer(1.5, 3), MODULE, None, {"ids": [0] * 5}, 0)
    now = 1012.0
    bar.on_train_batch_end(trainer(0.5, 4), MODULE, None, {"ids": [0] * 5}, 1)
    lines = out.getvalue().splitlines()
    # 10 samples took 10 s: 10 more, and 16 answers at 1 s; the second step comes too soon for a line
    assert lines == ["[2/2] a learning 1/4, loss 2.50, 0:26 left", "[2/2] a learning 4/4, loss 0.50, 0:16 left"]
    assert "\x1b" not in out.getvalue()


def test_answers_are_counted_by_rank(tmp_path, monkeypatch):
    bar, out = made()
    bar.follow(Loop(tmp_path))
    bar.on_predict_start(None, None)
    bar.on_predict_batch_end(SimpleNamespace(world_size=2), None, None, {"ids": [0] * 3}, 0)
    assert bar.left_answers == 10
    assert "[2/2] a answering" in out.getvalue()


def test_a_terminal_gets_a_bar_that_can_be_taken_off(tmp_path):
    out = io.StringIO()
    bar = SequenceProgress(Console(file=out, force_terminal=True, width=100))
    bar.follow(Loop(tmp_path))
    bar.on_predict_start(None, None)
    bar.on_predict_batch_end(SimpleNamespace(world_size=1), None, None, {"ids": [0] * 3}, 0)
    assert bar.live is not None
    bar.pause()
    assert bar.live is None
    assert "answering" in out.getvalue()
