"""A frozen model in pieces over several devices (FSDP2): what is cut up, and how tensors become whole again.

The layers of the language model are most of a model. Tower, projector, embeddings and head stay whole on each device:
parts of them are used outside of the language model's own forward pass, which would find pieces there.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from coin_lightning.errors import ConfigError

Key = TypeVar("Key")


def shard(language_model: nn.Module, mesh: DeviceMesh, whole: Collection[nn.Parameter], offload: bool = False) -> None:
    """Cut the layers of a language model into pieces, in place; nothing to do when that has been done.

    Args:
        language_model: a decoder with `layers`.
        mesh: of one dimension, of the devices that share it.
        whole: parameters within it of which each device keeps all, beside embeddings.
        offload: the pieces stay in the memory of the machine until their layer computes.

    Raises:
        ConfigError: it has no `layers`, or a frozen weight that cannot be cut, as quantised ones.
    """
    if isinstance(language_model, FSDPModule):
        return
    layers: Any = getattr(language_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ConfigError(
            f"trainer.strategy: a {type(language_model).__name__} has no `layers` to shard; use trainer=ddp"
        )
    _refuse_integers(language_model)
    embeddings: Any = language_model.get_input_embeddings()  # type: ignore[operator]
    kept = {*whole, *embeddings.parameters()}
    policy = CPUOffloadPolicy(pin_memory=torch.cuda.is_available()) if offload else OffloadPolicy()
    for part in (*layers, language_model):
        fully_shard(part, mesh=mesh, ignored_params=kept, offload_policy=policy)


def _refuse_integers(module: nn.Module) -> None:
    """Quantised weights are packed into bytes, with the numbers to unpack them beside: pieces of them mean nothing."""
    for name, weight in module.named_parameters():
        if not weight.is_floating_point():
            raise ConfigError(
                f"trainer.strategy: {name} is quantised ({weight.dtype}) and cannot be sharded; use trainer=ddp, or "
                "backbone.quantization=null"
            )


def in_pieces(tensor: Tensor) -> bool:
    """Whether this process has a part of it only."""
    return isinstance(tensor, DTensor) or hasattr(tensor, "ds_tensor")


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor without its history, gathered where it lies in pieces; then all processes must ask for it."""
    if hasattr(tensor, "ds_tensor"):  # DeepSpeed's ZeRO 3
        from deepspeed.zero import GatheredParameters

        with GatheredParameters([tensor]):
            return tensor.detach().clone()
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def remembered(tensor: Tensor) -> Tensor:
    """A copy that does not change with it: of what this process has, or all of it where that changes place."""
    return whole(tensor) if hasattr(tensor, "ds_tensor") else tensor.detach().clone()


def like(tensor: Tensor, own: Tensor) -> Tensor:
    """A whole tensor, which all processes have, in the pieces in which `own` lies."""
    if not isinstance(own, DTensor) or isinstance(tensor, DTensor) or tensor.shape != own.shape:
        return tensor
    local = tensor.to(own.device, own.dtype)
    return distribute_tensor(local, own.device_mesh, own.placements, src_data_rank=None)


def all_like(tensors: Mapping[Key, Tensor], own: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    """Each in the pieces of the one of its name."""
    return {name: like(tensor, own[name]) if name in own else tensor for name, tensor in tensors.items()}


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The mean over all processes, of parameters that are whole in each; FSDP itself averages those in pieces.

    A parameter without a gradient counts as zero where another process has one, and stays without where none has.
    """
    for group in _by_dtype([each for each in parameters if not isinstance(each, DTensor)]):
        zeros = [torch.zeros_like(each) if each.grad is None else each.grad for each in group]
        present = zeros[0].new_tensor([float(each.grad is not None) for each in group])
        flat = torch.cat([*(grad.flatten() for grad in zeros), present])
        dist.all_reduce(flat)
        counts = flat[-len(group) :].tolist()
        means = (flat[: -len(group)] / dist.get_world_size()).split([each.numel() for each in group])
        for parameter, mean, count in zip(group, means, counts, strict=True):
            parameter.grad = mean.view_as(parameter).clone() if count else None


def _by_dtype(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    kinds: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in parameters:
        kinds.setdefault(parameter.dtype, []).append(parameter)
    return list(kinds.values())


@torch.no_grad()
def same_everywhere(parameters: Iterable[nn.Parameter]) -> None:
    """Give whole parameters the values that the first process has."""
    for parameter in parameters:
        if not isinstance(parameter, DTensor):
            dist.broadcast(parameter.data, src=0)


@torch.no_grad()
def clip_norm(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """As `torch.nn.utils.clip_grad_norm_` of norm 2, also where some gradients lie in pieces and others do not."""
    grads = [each.grad for each in parameters if each.grad is not None]
    cut = [grad.to_local() for grad in grads if isinstance(grad, DTensor)]
    full = [grad for grad in grads if not isinstance(grad, DTensor)]
    if not grads:
        return
    squares = [sum((grad.float().square().sum() for grad in part), torch.zeros((), device=grads[0].device))
               for part in (cut, full)]  # fmt: skip
    if cut:
        dist.all_reduce(squares[0])
    scale = (limit / (torch.stack(squares).sum().sqrt() + 1e-6)).clamp(max=1.0)
    for grad in cut + full:
        grad.mul_(scale.to(grad.dtype))
