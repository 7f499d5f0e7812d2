"""What a `ContinualMLLM` keeps from step to step and from task to task, and how it comes back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from coin_lightning import processes
from coin_lightning.errors import RunError
from coin_lightning.methods.base import Method
from coin_lightning.seeding import random_state, restore_random_state
from coin_lightning.sharding import whole
from coin_lightning.task_progress import DIVERGED, TaskProgress


class ModuleState(L.LightningModule):
    """Trainable weights, state of method and plugins, random states: saved, checked and restored.

    Attributes:
        method: the one.
        plugins: beside it, by name.
        progress: what this process has learned from in the present task.
    """

    method: Method
    plugins: nn.ModuleDict
    progress: TaskProgress

    @property
    def methods(self) -> dict[str, Method]:
        """The method and the plugins, by the names of their state, in the order of their hooks."""
        plugins: Any = self.plugins.items()
        return {"method": self.method, **{f"plugins.{name}": plugin for name, plugin in plugins}}

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def check_finite(self) -> None:
        """Nothing that is not a number is kept.

        Raises:
            RunError: a trainable weight is not finite.
        """
        wrong = [name for name, weight in self.trainable().items() if not torch.isfinite(whole(weight)).all()]
        if wrong:
            raise RunError(
                f"training diverged: {len(wrong)} trainable tensors are not finite behind step {self.progress.steps} "
                f"of the task, e.g. {wrong[0]}. {DIVERGED}"
            )

    def restore(self, position: int) -> None:
        """The structure that methods give the module behind `position` experiences; see `Method.restore`."""
        for method in self.methods.values():
            method.restore(self, position)

    def method_state(self) -> dict[str, Tensor]:
        """Parameters and buffers of the method and the plugins, by name, in their own dtypes."""
        methods = self.methods.items()
        return {f"{part}.{key}": value for part, method in methods for key, value in method.state_dict().items()}

    def load_method_state(self, state: Mapping[str, Tensor], where: str) -> None:
        """Undo of `method_state`, into the structure that `restore` has made.

        Args:
            state: tensors by name.
            where: they come from, for the message.

        Raises:
            RunError: there are other tensors, or tensors of other shapes, than the methods have.
        """
        own = self.method_state()
        wrong = sorted(own.keys() ^ state.keys()) or [
            name for name, value in own.items() if value.shape != state[name].shape
        ]
        if wrong:
            raise RunError(
                f"{where}: its state of the method and the plugins does not fit those of the config, e.g. {wrong[0]}; "
                "give the command that the run was started with"
            )
        for name, value in own.items():
            value.copy_(state[name])

    @property
    def memory(self) -> dict[str, Any]:
        """What the method and the plugins remember beside tensors, JSON values by their names."""
        return {name: method.memory for name, method in self.methods.items()}

    @memory.setter
    def memory(self, memory: Mapping[str, Any]) -> None:
        for name, method in self.methods.items():
            method.memory = dict(memory.get(name, {}))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep trainable weights, method state, and of every rank its random state and what it has learned from.

        All ranks take part; the frozen model is never written.
        """
        trainable = self.trainable()
        checkpoint["state_dict"] = {
            name: tensor for name, tensor in checkpoint["state_dict"].items() if name in trainable
        }
        checkpoint["method_state"] = self.method_state()
        checkpoint["ranks"] = processes.gather({"random_state": random_state(), "progress": asdict(self.progress)})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint holds exactly the trainable weights, of as many ranks as there are.

        Raises:
            RunError: it does not.
        """
        own, kept = self.trainable(), checkpoint["state_dict"]
        wrong = [name for name in sorted({*own, *kept}) if _shape(own, name) != _shape(kept, name)]
        if wrong:
            raise RunError(
                f"last.ckpt does not fit the model: {len(wrong)} tensors differ in name or shape, e.g. {wrong[0]}; it "
                "is from other settings or another version of the code. Remove it from the task's folder to learn the "
                "task from its beginning"
            )
        ranks = checkpoint["ranks"]
        if len(ranks) != processes.world_size():
            raise RunError(
                f"the task was begun by {len(ranks)} processes and cannot be continued by {processes.world_size()}: "
                f"each would go on with other samples. Start {len(ranks)}, or remove last.ckpt from the task's folder "
                "to learn the task from its beginning"
            )
        self.load_method_state(checkpoint["method_state"], "the checkpoint")
        mine = ranks[processes.rank()]
        self.progress = TaskProgress(**mine["progress"])
        self._restored_random_state = mine["random_state"]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Continue a killed task with the random numbers it would have drawn."""
        state = self.__dict__.pop("_restored_random_state", None)
        if state is not None:
            restore_random_state(state)


def _shape(tensors: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None
