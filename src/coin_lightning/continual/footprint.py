"""Bytes that a module and its optimizer take, counted on tensors that need have no contents (torch's `meta` device)."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.quantization import BYTES
from coin_lightning.module import ContinualMLLM


def quantised(backbone: Backbone, kind: str | None) -> set[int]:
    """Identities of the weights that a quantised base has in few bits: of the language model's linear layers."""
    if kind is None:
        return set()
    linears = [module for module in backbone.language_model.modules() if isinstance(module, nn.Linear)]
    return {id(linear.weight) for linear in linears if not linear.weight.requires_grad}


def weight_bytes(module: nn.Module, few_bits: set[int], kind: str | None) -> dict[str, int]:
    """Of parameters and buffers, by dtype; those of few bits under the name of their kind.

    Args:
        module: all of it lies on the device.
        few_bits: from `quantised`.
        kind: see `quantization.BYTES`.
    """
    found: Counter[str] = Counter()
    for tensor in chain(module.parameters(), module.buffers()):
        if kind is not None and id(tensor) in few_bits:
            found[kind] += round(tensor.numel() * BYTES[kind])
        else:
            found[str(tensor.dtype).removeprefix("torch.")] += tensor.numel() * tensor.element_size()
    return dict(found)


def gradient_bytes(module: ContinualMLLM) -> int:
    """Of everything that is trained; frozen rows of a bank have gradients, too, which are zero."""
    return sum(weight.numel() * weight.element_size() for weight in module.trainable().values())


def optimizer_bytes(module: ContinualMLLM) -> int:
    """What the configured optimizer keeps behind its first step, which is taken on tensors without contents; by one
    that looks at contents, on a tensor of zeros for each shape that there is."""
    groups = module.optimizer_groups()
    try:
        return _state_behind_a_step(module.optimizer, groups)
    except (RuntimeError, NotImplementedError):  # what torch says of a value that a tensor does not have
        shapes = Counter((tuple(weight.shape), weight.dtype) for group in groups for weight in group["params"])
        return sum(count * _state_of(module.optimizer, *shape) for shape, count in shapes.items())


def _state_of(optimizer: Callable[..., Any], shape: tuple[int, ...], dtype: torch.dtype) -> int:
    weight = nn.Parameter(torch.zeros(shape, dtype=dtype))
    return _state_behind_a_step(optimizer, [{"params": [weight]}])


def _state_behind_a_step(optimizer: Callable[..., Any], groups: list[dict[str, Any]]) -> int:
    made = optimizer(groups)
    weights = [weight for group in groups for weight in group["params"]]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    try:
        made.step()
    finally:
        for weight in weights:
            weight.grad = None
    return state_bytes(made.state)


def state_bytes(state: Mapping[Any, Mapping[str, Any]]) -> int:
    """Of the tensors in an optimizer's state."""
    tensors = [value for own in state.values() for value in own.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
