"""When `last.ckpt` is written, and that it is replaced in one go."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.checkpoint import TaskCheckpoint
from coin_lightning.errors import ConfigError


class Trainer:
    """As much of a trainer as the callback asks for; a checkpoint is a file that holds the step."""

    is_global_zero = True
    num_training_batches = 10

    def __init__(self, folder: Path) -> None:
        loop = ContinualLoop.__new__(ContinualLoop)
        loop.run = SimpleNamespace(folder=lambda index: folder)
        loop.experience = SimpleNamespace(index=1)
        self.callbacks, self.global_step, self.saves = [loop], 0, []

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        assert weights_only is False
        path.write_text(str(self.global_step))
        self.saves.append(self.global_step)


def run(trainer: Trainer, callback: TaskCheckpoint, batches: int, accumulate: int = 1) -> None:
    for batch in range(batches):
        trainer.global_step = (batch + 1) // accumulate
        callback.on_train_batch_end(trainer, None, None, None, batch)


def test_saves_every_n_steps_but_not_behind_the_last_batch(tmp_path: Path):
    trainer = Trainer(tmp_path)
    run(trainer, TaskCheckpoint(every_n_steps=5), batches=10)
    assert trainer.saves == [5]
    assert (tmp_path / "last.ckpt").read_text() == "5"
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_saves_once_per_step_when_gradients_accumulate(tmp_path: Path):
    trainer = Trainer(tmp_path)
    run(trainer, TaskCheckpoint(every_n_steps=2), batches=9, accumulate=2)
    assert trainer.saves == [2, 4]


def test_only_the_main_process_moves_the_file(tmp_path: Path):
    trainer = Trainer(tmp_path)
    trainer.is_global_zero = False
    run(trainer, TaskCheckpoint(every_n_steps=1), batches=1)
    assert trainer.saves == [1]  # all ranks take part
    assert not (tmp_path / "last.ckpt").exists()


def test_a_wrong_interval_is_refused():
    with pytest.raises(ConfigError, match=r"callbacks\.checkpoint\.every_n_steps=0"):
        TaskCheckpoint(every_n_steps=0)
