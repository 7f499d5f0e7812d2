"""A checkpoint in the middle of a task, from which a killed run goes on with the same bits."""

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from coin_lightning.assets import file_sha256
from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.giving_way import LAST
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.manifest import announce
from coin_lightning.module import ContinualMLLM
from coin_lightning.whole_files import flush


class InPlace(TorchCheckpointIO):
    """Writes a checkpoint straight into its file.

    Lightning's own goes through memory and the folder for temporary files: where that is small it ends the run, and a
    kill leaves checkpoints there that nobody removes.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """The caller sees to it that nobody reads a file that is half written."""
        with open(path, "wb") as stream:  # torch's own stream does not say why it cannot write
            torch.save(checkpoint, stream)


class TaskCheckpoint(L.Callback):
    """Keeps `last.ckpt` in the experience's folder: trainable weights, optimizer, schedule, position, random states.

    It is only written between two optimizer steps, where no gradient is on its way. A process that is asked to end is
    saved at the next such place and then ends.

    Args:
        every_n_steps: optimizer steps between two saves.
    """

    def __init__(self, every_n_steps: int = 200) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"callbacks.checkpoint.every_n_steps={every_n_steps} must be at least 1")
        self.every_n_steps = every_n_steps
        self._saved = self._step = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Say that the task is saved when it is asked to end."""
        _loop(trainer).saves_mid_task = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count from where the task stands."""
        self._saved = self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save behind a step that is due, except the last of an epoch, which is left to the epoch's end."""
        stepped, self._step = trainer.global_step > self._step, trainer.global_step
        if stepped and batch_idx + 1 < trainer.num_training_batches and (stop := self._due(trainer)) is not None:
            _log_step(trainer, stop)
            self._save(trainer, pl_module, stop)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save between two epochs; behind the last one the experience itself is saved."""
        if trainer.current_epoch + 1 < (trainer.max_epochs or 0) and (stop := self._due(trainer)) is not None:
            self._save(trainer, pl_module, stop)

    def _due(self, trainer: L.Trainer) -> bool | None:
        """Whether to stop behind saving; None where nothing is to be saved."""
        # the ranks stop at the same step, although a signal reaches them at different times
        received = _loop(trainer).interruption.received is not None
        stop: bool = trainer.strategy.reduce_boolean_decision(received, all=False)
        return stop if stop or self._step - self._saved >= self.every_n_steps else None

    def _save(self, trainer: L.Trainer, module: L.LightningModule, stop: bool) -> None:
        assert isinstance(module, ContinualMLLM)
        self._saved = self._step
        module.check_finite()
        loop = _loop(trainer)
        folder = loop.run.folder(loop.position)
        scratch = folder / f".{LAST}.tmp"
        trainer.save_checkpoint(scratch, weights_only=False)  # on all ranks
        if trainer.is_global_zero:
            if scratch.is_file():  # DeepSpeed's is a folder
                announce(folder, LAST, file_sha256(scratch))
                flush(scratch)
            os.replace(scratch, folder / LAST)
        if stop:
            loop.interruption.stop()


def _log_step(trainer: L.Trainer, last: bool) -> None:
    """Give loggers the step that is about to be saved. Lightning does it behind the callbacks, where a process that is
    killed with the file written never comes, and the next one starts behind it.

    Args:
        trainer: of the task.
        last: the process ends here, so every logger gets it; else only those that take a step twice.
    """
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]
    loggers = [logger for logger in trainer.loggers if last or getattr(logger, "merges", False)]
    if not loggers or not every or trainer.global_step % every:
        return
    metrics = {name: float(value) for name, value in trainer.logged_metrics.items()}
    for logger in loggers:
        logger.log_metrics(metrics, step=trainer.global_step - 1)
        logger.save()


def _loop(trainer: L.Trainer) -> ContinualLoop:
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next(callback for callback in callbacks if isinstance(callback, ContinualLoop))


def position_in(checkpoint: Path) -> tuple[int, int]:
    """Epoch and batches behind it from which a task goes on.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        loops = torch.load(checkpoint, weights_only=True, map_location="cpu")["loops"]["fit_loop"]
        epoch = loops["epoch_progress"]["current"]["processed"]
        batches = loops["epoch_loop.batch_progress"]
    except Exception as error:  # a damaged archive may fail in any way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{checkpoint}: cannot be read ({reason}); remove it to learn the task from its beginning"
        ) from error
    return epoch, 0 if batches["is_last_batch"] else batches["current"]["processed"]
