"""A checkpoint in the middle of a task, from which a killed run goes on with the same bits."""

import os
from typing import Any

import lightning as L

from coin_lightning.continual.callback import LAST, ContinualLoop
from coin_lightning.errors import ConfigError


class TaskCheckpoint(L.Callback):
    """Keeps `last.ckpt` in the experience's folder: trainable weights, optimizer, schedule, position, random state.

    Args:
        every_n_steps: optimizer steps between two saves.
    """

    def __init__(self, every_n_steps: int = 200) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"callbacks.checkpoint.every_n_steps={every_n_steps} must be at least 1")
        self.every_n_steps = every_n_steps
        self._saved = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, except behind the last batch of an epoch: Lightning would run that epoch again on resuming."""
        step = trainer.global_step
        if step % self.every_n_steps or step == self._saved or batch_idx + 1 == trainer.num_training_batches:
            return
        self._saved = step
        folder = self._loop(trainer).run.folder(self._loop(trainer).position)
        scratch = folder / f".{LAST}.tmp"
        trainer.save_checkpoint(scratch, weights_only=False)  # on all ranks
        if trainer.is_global_zero:
            os.replace(scratch, folder / LAST)

    def _loop(self, trainer: L.Trainer) -> ContinualLoop:
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        return next(callback for callback in callbacks if isinstance(callback, ContinualLoop))
