"""`ShardedStrategy`: the frozen model in pieces over the devices, which learn together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.parallel import ParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from coin_lightning.sharding import average_gradients, like, same_everywhere, whole


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 (`torch.distributed.fsdp.fully_shard`) through Lightning, with one dimension of devices.

    `ContinualMLLM.configure_model` cuts the model up. Lightning leaves gradients of what stays whole to each process;
    here they are averaged, once per optimizer step. Checkpoints are those of one process: whole tensors of what learns,
    written by the first process, so that the frozen model is never gathered.

    Args:
        trainable: `whole`, every device has all that learns and its optimizer state; or `sharded`, those of the adapter
            lie in pieces too (the projector stays whole: not every process has images in every batch).
        offload: the frozen pieces wait in the memory of the machine, for models that all devices together do not hold.
        process_group_backend: as Lightning's.
    """

    def __init__(
        self,
        trainable: Literal["whole", "sharded"] = "whole",
        offload: bool = False,
        process_group_backend: str | None = None,
    ) -> None:
        both = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else None  # what is decided is told on the CPU
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend or both,
        )
        self.trainable, self.offload = trainable, offload
        self._accumulates = False

    def setup_environment(self) -> None:
        """All processes are one dimension of the mesh."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: L.Trainer) -> None:
        """As DDP does, begin with the weights of the first process."""
        super().setup(trainer)
        if trainer.state.fn == TrainerFn.FITTING:
            same_everywhere(self._learning().values())

    def model_to_device(self) -> None:
        """All but what waits in the memory of the machine."""
        if not self.offload:
            super().model_to_device()
            return
        tensors = chain(self._module().parameters(), self._module().buffers())
        for tensor in (each for each in tensors if not isinstance(each, DTensor)):
            tensor.data = tensor.data.to(self.root_device)

    # gradients

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Within it gradients are added up in each process: another batch of the same optimizer step follows."""
        roots = [part for part in self._module().modules() if isinstance(part, FSDPModule)]
        self._accumulates = True
        for part in roots:
            part.set_requires_gradient_sync(False, recurse=False)
        try:
            yield
        finally:
            self._accumulates = False
            for part in roots:
                part.set_requires_gradient_sync(True, recurse=False)

    def post_backward(self, closure_loss: Tensor) -> None:
        """Average what FSDP does not."""
        if not self._accumulates:
            average_gradients(self._learning().values())

    # checkpoints

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """As with DDP: before the optimizer is made."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """As with DDP."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """What learns, whole."""
        return {name: whole(weight) for name, weight in self._learning().items()}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Undo of it; the module has checked names and shapes."""
        own = self._learning()
        for name, tensor in checkpoint["state_dict"].items():
            own[name].data.copy_(like(tensor, own[name]))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Whole, and in the form that the optimizer itself has."""
        state: dict[str, Any] = ParallelStrategy.optimizer_state(self, optimizer)
        return {**state, "state": {key: _each(whole, own) for key, own in state["state"].items()}}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Undo of it."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            parts = {key: _each(partial(like, own=weights[key]), own) for key, own in state["state"].items()}
            optimizer.load_state_dict({**state, "state": parts})

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """By the first process."""
        ParallelStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """By each."""
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    def _module(self) -> nn.Module:
        module = self.lightning_module
        assert module is not None
        return module

    def _learning(self) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in self._module().named_parameters() if weight.requires_grad}


def in_step(strategy: Any) -> bool:
    """Whether the model lies in pieces, so that all processes compute or none."""
    return isinstance(strategy, ShardedStrategy) or bool(getattr(strategy, "zero_stage_3", False))


def _each(change: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: change(value) if isinstance(value, torch.Tensor) else value for name, value in state.items()}
