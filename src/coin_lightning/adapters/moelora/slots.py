"""The experts as a bank of slots: which take part, which learn, and merging a fixed mixture into the base."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coin_lightning.adapters.moelora.config import MoELoraConfig, _slots
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.adapters.moelora.routing import named_layers
from coin_lightning.errors import ConfigError


def moelora_layers(model: nn.Module) -> dict[str, MoELoraLinear]:
    """MoELoRA layers by module name; `ConfigError` when the model has none."""
    return named_layers(model)


def _configs(model: nn.Module, adapter_name: str) -> list[MoELoraConfig]:
    """Settings of one adapter, one object for all its layers (and the one that `save_pretrained` writes)."""
    configs = [
        layer.moelora_config[adapter_name]
        for layer in named_layers(model).values()
        if adapter_name in layer.moelora_config
    ]
    if not configs:
        known = sorted({name for layer in named_layers(model).values() for name in layer.moelora_config})
        raise ConfigError(f"no adapter is named {adapter_name!r}; there are: {', '.join(known)}.")
    return list({id(config): config for config in configs}.values())


def set_active_slots(model: nn.Module, slots: Sequence[int] | None, adapter_name: str = "default") -> None:
    """Let only these slots take part (None = all): others get gate 0, the softmax runs over the active ones.

    Raises:
        ConfigError: no slot, or a number outside 0..E-1.
    """
    for config in _configs(model, adapter_name):
        chosen = _slots("active_slots", slots, config.num_experts)
        if chosen == []:
            raise ConfigError(
                "active_slots=[]: at least one slot must be active; use disable_adapter() to switch all off."
            )
        config.active_slots = chosen


def set_trainable_slots(model: nn.Module, slots: Sequence[int] | None, adapter_name: str = "default") -> None:
    """Let only these slots learn (None = all): gradients of the others' A, B and router rows are exactly zero.

    A shared A has no slots and keeps learning. Momentum from before and weight decay can still move a frozen slot:
    start a new optimizer, without decay.

    Raises:
        ConfigError: a number outside 0..E-1.
    """
    for config in _configs(model, adapter_name):
        config.trainable_slots = _slots("trainable_slots", slots, config.num_experts)


def merge_slots(model: nn.Module, weights: Tensor | Sequence[float] | int, adapter_name: str = "default") -> None:
    """Add the slots, mixed with fixed weights [E] (or one slot, given by its number), to every base weight.

    Outputs then equal those under `slot_weights(model, weights)` up to rounding, at the cost of the bare base model.
    The base weights before are kept until `unmerge_slots`.

    Raises:
        ConfigError: another number of weights than slots; a quantised base; something merged already.
    """
    layers = [layer for layer in named_layers(model).values() if adapter_name in layer.moelora_A]
    for config in _configs(model, adapter_name):
        if isinstance(weights, int):
            _slots("merge_slots", [weights], config.num_experts)
            weights = [float(slot == weights) for slot in range(config.num_experts)]
        weights = torch.as_tensor(weights, dtype=torch.float32)
        if weights.shape != (config.num_experts,):
            raise ConfigError(
                f"merge_slots: weights of shape {list(weights.shape)} for {config.num_experts} slots; give one each."
            )
    for layer in layers:
        layer.check_mergeable()
    for layer in layers:
        layer.merge_slots(adapter_name, torch.as_tensor(weights))


def unmerge_slots(model: nn.Module) -> None:
    """Undo `merge_slots`: every base weight is again what it was, bit by bit."""
    for layer in named_layers(model).values():
        layer.unmerge()
