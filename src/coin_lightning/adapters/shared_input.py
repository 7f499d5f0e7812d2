"""Adapter layers that read the same tensor, found by watching their parent once, and computed together from then on.

A parent, such as an attention block, calls its layers one by one. The first one of a group that is called computes
all of the group (`grouped_function`), and the others find their outputs waiting, as long as they get the very same
tensor in the same pass through the parent. Which layers form a group is seen in a first pass of the parent whose
results are thrown away, and which leaves no keys and values behind, so that every pass, also of a continued run, is
computed alike. Whatever a layer cannot do in a group (`SharesInput.bank` is None) it does by itself.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

from coin_lightning.adapters.grouped_function import Bank, grouped_linears
from coin_lightning.sharding import in_pieces

CACHE = "past_key_values"
"""Of a parent's arguments: what a pass would add to."""


class SharesInput(nn.Module):
    """An adapted linear layer that can be computed with others; without a `parent_pass` it never is."""

    parent_pass: "ParentPass | None" = None
    base_layer: Any

    def bank(self, x: Tensor) -> Bank | None:
        """What the group's function needs for this input; None where the layer must compute it by itself."""
        raise NotImplementedError

    def grouped(self, x: Tensor) -> Tensor | None:
        """The layer's output, computed with its group; None where the layer must compute it."""
        return None if self.parent_pass is None else self.parent_pass.output(self, x)


def plain_base(layer: SharesInput) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias of a layer's base; None unless it is a frozen `nn.Linear` that nobody has changed or cut up."""
    base = layer.base_layer
    changed = base._forward_hooks or base._forward_pre_hooks or "forward" in vars(base)
    if type(base) is not nn.Linear or changed or not usable(base.weight, base.bias, learn=False):
        return None
    return base.weight, base.bias


def usable(*weights: Tensor | None, learn: bool) -> bool:
    """Whether all are ordinary parameters, whole on this device, and do or do not learn."""
    return all(
        weight is None or (type(weight) is nn.Parameter and not in_pieces(weight) and weight.requires_grad is learn)
        for weight in weights
    )


class ParentPass:
    """Groups of one parent's adapter layers, and the outputs that wait within a pass through it.

    Args:
        layers: by name.
    """

    def __init__(self, layers: Mapping[str, SharesInput]) -> None:
        self.layers = layers
        self.groups: dict[str, list[str]] | None = None
        self._seen: dict[str, Tensor] | None = None
        self._open = False
        self._input: Tensor | None = None
        self._waiting: dict[str, Tensor] = {}

    def enter(self, parent: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hook before the parent's forward."""
        self.leave()
        if self._seen is None:
            if self.groups is None:
                self._watch(parent, args, kwargs | ({CACHE: None} if CACHE in kwargs else {}))
            self._open = True

    def leave(self, *_: Any) -> None:
        """Hook behind the parent's forward, also when it has raised."""
        self._open, self._input = False, None
        self._waiting.clear()

    @torch.no_grad()
    def _watch(self, parent: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Layers that get the same tensor form a group."""
        self._seen = {}
        device = next(next(iter(self.layers.values())).parameters()).device
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                parent.forward(*args, **kwargs)
            found = defaultdict(list)
            for name, x in self._seen.items():
                found[id(x)].append(name)
            self.groups = {name: members for members in found.values() for name in members}
        finally:
            self._seen = None

    def output(self, layer: SharesInput, x: Tensor) -> Tensor | None:
        """Output of a layer of the group; None where it must be computed by the layer itself."""
        name = next(name for name, own in self.layers.items() if own is layer)
        if self._seen is not None:
            self._seen[name] = x
            return layer.base_layer(x)
        if not self._open or self.groups is None or name not in self.groups:
            return None
        if x is not self._input:
            self._compute(self.groups[name], x)
        return self._waiting.pop(name, None)

    def _compute(self, names: Sequence[str], x: Tensor) -> None:
        self._input = x
        self._waiting.clear()
        banks = [bank for name in names if (bank := self.layers[name].bank(x)) is not None]
        dtype = _dtype(x, banks) if len(banks) == len(names) and all(bank.fits(banks[0]) for bank in banks) else None
        if dtype is not None:
            self._waiting.update(zip(names, grouped_linears(x, banks, dtype), strict=True))


def _dtype(x: Tensor, banks: Sequence[Bank]) -> torch.dtype | None:
    """Of the products: autocast's, or the one that all tensors have; None where they differ."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    kinds = {x.dtype} | {tensor.dtype for bank in banks for tensor in (bank.weight, bank.down, bank.up)}
    return x.dtype if len(kinds) == 1 else None


class GroupedLora(LoraLinear, SharesInput):
    """PEFT's LoRA layer, computed with those that share its input; in all else, saved files included, PEFT's own."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As PEFT's."""
        result = None if args or kwargs else self.grouped(x)
        return super().forward(x, *args, **kwargs) if result is None else result

    def bank(self, x: Tensor) -> Bank | None:
        """None with adapters that are off, merged, several or no plain LoRA, and with dropout."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        base = plain_base(self)
        if self.disable_adapters or self.merged or len(names) != 1 or base is None:
            return None
        (name,) = names
        down, up, dropout = (
            cast(nn.Linear, self.lora_A[name]),
            cast(nn.Linear, self.lora_B[name]),
            self.lora_dropout[name],
        )
        special = name in self.lora_variant or self.fan_in_fan_out or up.bias is not None
        if special or type(dropout) is not nn.Identity or not usable(down.weight, up.weight, learn=True):
            return None
        return Bank(*base, down.weight, up.weight.t(), scaling=self.scaling[name])


def share_inputs(model: nn.Module) -> None:
    """Let a model's adapter layers be computed together where they share an input, in training; in place.

    Args:
        model: with MoELoRA layers, or PEFT's LoRA layers on linear ones. Other adapters stay as they are.
    """
    for module in model.modules():
        if type(module) is LoraLinear:
            module.__class__ = GroupedLora
    for parent in list(model.modules()):
        layers = {name: child for name, child in parent.named_children() if isinstance(child, SharesInput)}
        if layers:
            watched = ParentPass(layers)
            for layer in layers.values():
                layer.parent_pass = watched
            parent.register_forward_pre_hook(watched.enter, with_kwargs=True)
            parent.register_forward_hook(watched.leave, always_call=True)
