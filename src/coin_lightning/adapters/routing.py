"""What travels beside a forward pass of adapters with slots: weights given by a method, and statistics of the gates.

Both are context managers over a model. They leave no attribute on any layer: an open block is an entry in a table of
this module, seen from every thread (autograd runs checkpointed layers again in its own), gone when the block closes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from coin_lightning.errors import ConfigError


class SlotLayer(nn.Module):
    """A layer that mixes slots: what the rest of the project knows of an adapter.

    It asks `given_weights` in each forward pass, and sends its gates to `sink_for`.
    """

    @property
    def num_slots(self) -> int:
        """Slots of the first active adapter."""
        raise NotImplementedError

    @property
    def has_router(self) -> bool:
        """Whether a router decides where no weights are given."""
        raise NotImplementedError

    def frozen_numbers(self) -> Iterator[tuple[nn.Parameter, int]]:
        """Each tensor of the adapters with how many of its numbers lie in slots that do not learn."""
        raise NotImplementedError


_WEIGHTS: dict[int, Tensor] = {}
_COLLECTORS: list["RouterLoad"] = []


def slot_layers(model: nn.Module) -> dict[str, SlotLayer]:
    """Layers with slots by module name, in the order of the model; may be none."""
    return {name: module for name, module in model.named_modules() if isinstance(module, SlotLayer)}


def _some_layers(model: nn.Module) -> dict[str, SlotLayer]:
    if layers := slot_layers(model):
        return layers
    raise ConfigError(f"{type(model).__name__} has no layer with slots; wrap it with get_peft_model(model, ...).")


def _as_weights(weights: Tensor | int, num_slots: int) -> Tensor:
    """Indices (an int, or integers [batch]) become one-hot rows; floats stay."""
    index = torch.as_tensor(weights)
    if index.is_floating_point():
        return index
    if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < num_slots):
        raise ConfigError(f"slot index {index.tolist()}: slots are numbered 0 to {num_slots - 1}.")
    return nn.functional.one_hot(index.long(), num_slots).float()


@contextmanager
def slot_weights(model: nn.Module, weights: Tensor | int | Mapping[str, Tensor | int]) -> Iterator[None]:
    """Within the block the layers mix their slots with these weights, in place of their router.

    With activation checkpointing keep the block open until backward has run: the layers are computed again there.

    Args:
        model: holds the layers.
        weights: for all layers, or by layer name. Floats [E] (fixed), [batch, E] (per sample) or [batch, length, E]
            (per token), which may need gradients; or slot indices: an int, or integers [batch] (one-hot).

    Raises:
        ConfigError: no such layer or slot; in the forward pass: the number of samples differs from the batch.
    """
    layers = _some_layers(model)
    by_name = dict(weights) if isinstance(weights, Mapping) else dict.fromkeys(layers, weights)
    if unknown := sorted(by_name.keys() - layers.keys()):
        raise ConfigError(
            f"slot_weights: no layer with slots is named {unknown[0]!r}; the first one is {next(iter(layers))!r}."
        )
    entries: dict[int, Tensor] = {}
    ready: dict[tuple[int, int], Tensor] = {}
    for name, weight in by_name.items():
        num_slots = layers[name].num_slots
        key = (id(weight), num_slots)
        if key not in ready:
            ready[key] = _as_weights(weight, num_slots)
        entries[id(layers[name])] = ready[key]
    before = {layer_id: _WEIGHTS[layer_id] for layer_id in entries if layer_id in _WEIGHTS}
    _WEIGHTS.update(entries)
    try:
        yield
    finally:
        for layer_id in entries:
            del _WEIGHTS[layer_id]
        _WEIGHTS.update(before)


def given_weights(layer: nn.Module) -> Tensor | None:
    """Weights that an open `slot_weights` block holds for this layer."""
    return _WEIGHTS.get(id(layer))


def spread_weights(weights: Tensor, x: Tensor) -> Tensor:
    """Weights [E], [batch, E] or [batch, length, E] as one row per row of x [batch, d] or [batch, length, d].

    Raises:
        ConfigError: the leading sizes do not fit x.
    """
    lead, slots = x.shape[:-1], weights.shape[-1]
    weights = weights.to(x.device)
    if weights.dim() == 1:
        return weights.expand(lead.numel(), slots)
    if weights.shape[:-1] == lead:
        return weights.reshape(-1, slots)
    if weights.dim() == 2 and len(lead) == 2 and weights.shape[0] == lead[0]:
        return weights.unsqueeze(1).expand(*lead, slots).reshape(-1, slots)
    raise ConfigError(
        f"slot weights of shape {list(weights.shape)} do not fit an input of shape {list(x.shape)}; "
        "give [E], [batch, E] or [batch, length, E] (repeat rows when beams or answers multiply the batch)."
    )


class RouterLoad:
    """Running mean of the gates per layer. Made by `router_load`.

    Attributes:
        mask: None, or bool/int [batch, length], nonzero = a real token; set it before each forward. A layer that sees
            fewer positions (a generation step) uses the last columns.
    """

    def __init__(self, layers: Mapping[str, nn.Module], mask: Tensor | None = None) -> None:
        self.mask = mask
        self._names = {id(layer): name for name, layer in layers.items()}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor | float] = {}

    def totals(self) -> dict[str, tuple[Tensor, float]]:
        """Summed gates per expert ([E] fp64 on CPU) and the number of tokens behind them, by layer: can be added up."""
        return {name: (total.double().cpu(), float(self._counts[name])) for name, total in self._sums.items()}

    def add(self, layer: nn.Module, gates: Tensor, lead: torch.Size) -> None:
        """Add gates [N, E] that `layer` computed for an input of leading sizes `lead`.

        Raises:
            ConfigError: the mask has another batch size, or fewer columns than the input.
        """
        name = self._names.get(id(layer))
        if name is None:
            return
        gates = gates.detach()
        real = gates.new_ones(gates.shape[0]) if self.mask is None else self._rows(lead).to(gates)
        total, count = real @ gates, real.sum()
        self._sums[name] = self._sums.get(name, 0.0) + total.double()
        self._counts[name] = self._counts.get(name, 0) + count

    def _rows(self, lead: torch.Size) -> Tensor:
        assert self.mask is not None
        if self.mask.numel() == lead.numel():
            return self.mask.reshape(-1)
        if len(lead) != 2 or self.mask.shape[0] != lead[0] or self.mask.shape[1] < lead[1]:
            raise ConfigError(
                f"router_load: mask {list(self.mask.shape)} does not fit {list(lead)} tokens; set it before each batch."
            )
        return self.mask[:, -lead[1] :].reshape(-1)


@contextmanager
def router_load(model: nn.Module, mask: Tensor | None = None) -> Iterator[RouterLoad]:
    """Collect the mean gate of each expert in each layer with slots while the block is open.

    Args:
        model: holds the layers.
        mask: see `RouterLoad.mask`.

    Raises:
        ConfigError: the model has no layer with slots.
    """
    collector = RouterLoad(_some_layers(model), mask)
    _COLLECTORS.append(collector)
    try:
        yield collector
    finally:
        _COLLECTORS.remove(collector)


def sink_for(layer: nn.Module, lead: torch.Size) -> Callable[[Tensor], None] | None:
    """Where `layer` sends its gates [N, E]; None when nobody collects."""
    if not _COLLECTORS:
        return None

    def send(gates: Tensor) -> None:
        for collector in _COLLECTORS:
            collector.add(layer, gates, lead)

    return send
