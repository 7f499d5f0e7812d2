"""The frozen model that a run learns on: which tensors it has, and whether they are those it was begun with."""

import hashlib
from collections.abc import Iterator

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from coin_lightning.module import ContinualMLLM

LOOKED_AT = 64
"""Numbers of each tensor that a fingerprint takes: another checkpoint differs in nearly all of them."""


def frozen_tensors(module: ContinualMLLM) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer of the backbone that is not the adapter's."""
    inside = [f"{name}." for name, layer in module.named_modules() if isinstance(layer, BaseTunerLayer)]
    base = [f"{name}base_layer." for name in inside]
    own = tuple(f"{name}." for name, child in module.named_children() if child is module.backbone)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name.startswith(tuple(inside)) and not name.startswith(tuple(base)):
            continue
        if own and not name.startswith(own):
            continue
        yield name, tensor


def fingerprint(module: ContinualMLLM) -> str | None:
    """Sixteen hex digits that tell one checkpoint from another, whatever the files, names and device; None where
    weights are not all here (in pieces of several processes). Reads a few numbers of each tensor.
    """
    weights = [tensor for _, tensor in frozen_tensors(module) if isinstance(tensor, torch.nn.Parameter)]
    frozen = [weight.detach() for weight in weights if not weight.requires_grad]
    if any(weight.is_meta or not weight.numel() for weight in frozen):
        return None
    return hashlib.sha256("".join(sorted(map(_looked_at, frozen))).encode()).hexdigest()[:16]


def _looked_at(weight: Tensor) -> str:
    numbers = weight.reshape(-1)
    some = numbers[:: -(-len(numbers) // LOOKED_AT)].cpu().contiguous().view(torch.uint8)
    return hashlib.sha256(f"{weight.dtype} {list(weight.shape)}".encode() + some.numpy().tobytes()).hexdigest()
