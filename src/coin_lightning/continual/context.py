"""`ExperienceContext`: what a method sees of the task that is being learned, and of those before it."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from coin_lightning import processes
from coin_lightning.continual.scenario import Experience, Scenario
from coin_lightning.errors import RunError
from coin_lightning.methods.base import evaluation_mode
from coin_lightning.methods.step import StepOutput
from coin_lightning.module import ContinualMLLM
from coin_lightning.tasks.sample_sequence import Samples


class ExperienceContext:
    """See `methods.base.Context`.

    Args:
        scenario: read and prepared.
        experience: that is learned.
        module: what learns.
        trainer: of the fit.
        seed: of the run.
    """

    def __init__(
        self, scenario: Scenario, experience: Experience, module: ContinualMLLM, trainer: L.Trainer, seed: int
    ) -> None:
        assert experience.task is not None
        self.module, self.trainer, self.seed = module, trainer, seed
        self.task, self.position = experience.name, experience.position
        self._present = experience.task
        earlier = [task for position, task in scenario.train_tasks.items() if position < experience.position]
        self.earlier = tuple(task.name for task in earlier)
        self._tasks = {task.name: task for task in [*earlier, experience.task]}

    def samples(self, task: str | None = None) -> Any:
        """Training samples of this task, or of one learned before.

        Raises:
            RunError: the task is not learned yet, or its images lie elsewhere.
        """
        name = task or self.task
        if name not in self._tasks:
            raise RunError(f"{self.task}: {name} has not been learned yet; there are: {', '.join(self._tasks)}")
        self._present.know_images_of(self._tasks[name])
        return self._tasks[name].own_samples

    def joined(self, parts: Sequence[Any]) -> Any:
        """Samples of several such sequences behind one another."""
        return Samples.joined(parts)

    def batches(self, samples: Sequence[Any], batch_size: int | None = None) -> Iterator[dict[str, Any]]:
        """Batches in order, on the device; of several processes each gets every n-th.

        All get equally many, for a sharded model computes in all processes or in none; see `Context.batches`.
        """
        size = batch_size or self._present.batch_size
        starts, rank, world = range(0, len(samples), size), processes.rank(), processes.world_size()
        for first in range(0, len(starts), world):
            own = first + rank < len(starts)
            start = starts[first + rank] if own else starts[first]
            part = [samples[at] for at in range(start, min(start + size, len(samples)))]
            batch = {**self._present.encoder.train_batch(part), "samples": len(part) if own else 0}
            yield move_data_to_device(batch, self.module.device)

    def forward(self, batch: dict[str, Any]) -> StepOutput:
        """`ContinualMLLM.forward` in the trainer's precision."""
        with self.trainer.precision_plugin.forward_context():
            return self.module(batch)

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode for the module within it."""
        return evaluation_mode(self.module)

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in a tensor of its own."""
        total = tensor.clone()
        if processes.connected():
            torch.distributed.all_reduce(total)
        return total
