"""The bank of slots between two tasks: which take part, which learn, new ones, and merging a mixture into the base.

Every change is one of the adapter's config, which all its layers and its saved file share; parameters change only where
slots come or go.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coin_lightning.adapters.moelora.config import MoELoraConfig, _slots
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.errors import ConfigError

DEFAULT = "default"


def moelora_layers(model: nn.Module) -> dict[str, MoELoraLinear]:
    """MoELoRA layers by module name.

    Raises:
        ConfigError: the model has none.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, MoELoraLinear)}
    if not layers:
        raise ConfigError(
            f"{type(model).__name__} has no MoELoRA layer; wrap it with get_peft_model(model, MoELoraConfig(...))."
        )
    return layers


def _bank(model: nn.Module, adapter_name: str) -> tuple[MoELoraConfig, list[MoELoraLinear]]:
    """Settings of one adapter, one object for all its layers (and the one that `save_pretrained` writes), and these."""
    layers = moelora_layers(model).values()
    own = [layer for layer in layers if adapter_name in layer.moelora_config]
    if not own:
        known = sorted({name for layer in layers for name in layer.moelora_config})
        raise ConfigError(f"no adapter is named {adapter_name!r}; there are: {', '.join(known)}.")
    return own[0].moelora_config[adapter_name], own


def _change(config: MoELoraConfig, **values: Any) -> None:
    """All of the values, or none where one is wrong."""
    before = {name: getattr(config, name) for name in values}
    try:
        for name, value in values.items():
            setattr(config, name, value)
        config.check()
    except ConfigError:
        for name, value in before.items():
            setattr(config, name, value)
        raise


def set_active_slots(model: nn.Module, slots: Sequence[int] | None, adapter_name: str = DEFAULT) -> None:
    """Let only these slots take part (None = all): others get gate 0, the softmax runs over the active ones.

    Raises:
        ConfigError: no slot, or a number outside 0..E-1.
    """
    _change(_bank(model, adapter_name)[0], active_slots=None if slots is None else list(slots))


def set_trainable_slots(model: nn.Module, slots: Sequence[int] | None, adapter_name: str = DEFAULT) -> None:
    """Let only these slots learn (None = all): gradients of the others' A, B and router rows are exactly zero.

    A shared A has no slots and keeps learning. Momentum from before and weight decay can still move a frozen slot:
    start a new optimizer, without decay.

    Raises:
        ConfigError: a number outside 0..E-1.
    """
    _change(_bank(model, adapter_name)[0], trainable_slots=None if slots is None else list(slots))


def set_fixed_weights(model: nn.Module, weights: Sequence[float | None] | None, adapter_name: str = DEFAULT) -> None:
    """Give slots fixed weights, and those that are None back to the router (None = all).

    Raises:
        ConfigError: another number of weights than slots, or nothing is left to a router that there is.
    """
    _change(_bank(model, adapter_name)[0], fixed_weights=None if weights is None else list(weights))


def add_slots(
    model: nn.Module,
    ranks: Sequence[int],
    weight: float | None = None,
    group: int | None = None,
    adapter_name: str = DEFAULT,
) -> list[int]:
    """Put new slots behind the others, drawn from the global generator as the first ones; they take part and learn.

    Parameters become new objects; the other slots keep their values, numbers and scale.

    Args:
        model: holds the layers.
        ranks: of the new slots.
        weight: their fixed weight; None leaves it to the router, or with `mixing="given"` to `slot_weights`.
        group: where the bank has groups, the number of the one that they join; None makes one of their own.

    Returns:
        Their numbers.

    Raises:
        ConfigError: a rank below 1, another rank than that of a shared A, or an unknown group.
    """
    config, layers = _bank(model, adapter_name)
    if not ranks or min(ranks) < 1:
        raise ConfigError(f"add_slots: ranks={list(ranks)}; give the rank of each new slot, from 1.")
    first = config.num_experts
    new = list(range(first, first + len(ranks)))
    fixed = config.fixed_weights
    if fixed is not None or weight is not None:
        fixed = [*(fixed or [None] * first), *([weight] * len(ranks))]
    _resize(config, layers, list(range(first)), list(ranks), fixed_weights=fixed, **_joined(config, new, group))
    return new


def _joined(config: MoELoraConfig, new: list[int], group: int | None) -> dict[str, Any]:
    """Lists of slots with the new ones in them."""
    lists: dict[str, Any] = {}
    for name in ("active_slots", "trainable_slots"):
        before = getattr(config, name)
        lists[name] = None if before is None else [*before, *new]
    if config.groups is None:
        if group is not None:
            raise ConfigError(f"add_slots: group={group}, but the bank has no groups.")
        return lists
    number = len(config.groups) if group is None else group
    if not 0 <= number <= len(config.groups):
        raise ConfigError(f"add_slots: group={group}; groups are numbered 0 to {len(config.groups) - 1}.")
    groups = [list(members) for members in (*config.groups, [])]
    groups[number] += new
    return {**lists, "groups": [members for members in groups if members]}


def drop_slots(model: nn.Module, slots: Sequence[int], adapter_name: str = DEFAULT) -> None:
    """Remove slots; the others keep their order and values, and are numbered anew from 0.

    Raises:
        ConfigError: an unknown slot, or none that takes part would be left.
    """
    config, layers = _bank(model, adapter_name)
    if wrong := [slot for slot in slots if not 0 <= slot < config.num_experts]:
        raise ConfigError(f"drop_slots: no slot {wrong[0]}; slots are numbered 0 to {config.num_experts - 1}.")
    kept = [slot for slot in range(config.num_experts) if slot not in set(slots)]
    if not kept:
        raise ConfigError("drop_slots: at least one slot must stay; use delete_adapter to remove all.")

    def left(members: list[int] | None) -> list[int] | None:
        return None if members is None else [kept.index(slot) for slot in members if slot in kept]

    fixed = config.fixed_weights
    _resize(
        config,
        layers,
        kept,
        [],
        active_slots=left(config.active_slots),
        trainable_slots=left(config.trainable_slots),
        fixed_weights=None if fixed is None else [fixed[slot] for slot in kept],
        groups=None if config.groups is None else [some for group in config.groups if (some := left(group))],
        top_k=None if config.top_k is None else min(config.top_k, len(kept)),
    )


def _resize(config: MoELoraConfig, layers: list[MoELoraLinear], kept: list[int], new: list[int], **flags: Any) -> None:
    """Change the settings, then the parameters; neither where a setting would be wrong."""
    name = next(name for name, own in layers[0].moelora_config.items() if own is config)
    before, ranks = config.slot_ranks, [*(config.slot_ranks[slot] for slot in kept), *new]
    for layer in layers:
        if layer.merged:
            layer.check_mergeable()
    _change(config, num_experts=len(ranks), r=sum(ranks), ranks=ranks, scale=config.scaling, **flags)
    for layer in layers:
        layer.rearrange(name, before, kept, new)


def merge_slots(model: nn.Module, weights: Tensor | Sequence[float] | int, adapter_name: str = "default") -> None:
    """Add the slots, mixed with fixed weights [E] (or one slot, given by its number), to every base weight.

    Outputs then equal those under `slot_weights(model, weights)` up to rounding, at the cost of the bare base model.
    The base weights before are kept until `unmerge_slots`.

    Raises:
        ConfigError: another number of weights than slots; a quantised base; something merged already.
    """
    config, layers = _bank(model, adapter_name)
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
        layer.merge_slots(adapter_name, weights)


def unmerge_slots(model: nn.Module) -> None:
    """Undo `merge_slots`: every base weight is again what it was, bit by bit."""
    for layer in moelora_layers(model).values():
        layer.unmerge()
