"""How the router spreads its tokens over the experts: measured while a suite is answered (`router.json`)."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import lightning as L
from torch import Tensor

from coin_lightning.adapters.routing import RouterLoad, router_load, slot_layers


class RouterMeter(L.Callback):
    """Adds to each prediction `gates`: by layer the summed gates of its slots, and the tokens behind them.

    Padding does not count, neither that of a batch nor that behind an answer which has ended. Without a router nothing
    is added. It stands before the callback that writes predictions.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._load: RouterLoad | None = None

    def on_predict_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Begin to count."""
        if not any(layer.has_router for layer in slot_layers(pl_module).values()):
            return
        load = self._load = self._open.enter_context(router_load(pl_module))

        def watch(real: Tensor) -> None:
            load.mask = real

        pl_module.watchers.append(watch)
        self._open.callback(pl_module.watchers.remove, watch)

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add what was counted."""
        if self._load is not None:
            outputs["gates"] = {name: (total.tolist(), count) for name, (total, count) in self._load.totals().items()}
        self._close()

    def teardown(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Also of an evaluation that was stopped."""
        self._close()

    def _close(self) -> None:
        self._open.close()
        self._load = None


def mean_load(batches: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, Any]:
    """Mean gate per expert by layer and task, as `router.json` has it; empty for adapters without a router.

    Args:
        batches: by task, answered batches with their `gates`.
    """
    load, layers, experts = {}, [], 0
    for task, answered in batches.items():
        sums: dict[str, tuple[list[float], float]] = {}
        for batch in answered:
            for name, (total, count) in batch.get("gates", {}).items():
                before, tokens = sums.get(name, ([0.0] * len(total), 0.0))
                sums[name] = [a + b for a, b in zip(before, total, strict=True)], tokens + count
        if sums:
            layers, experts = list(sums), len(next(iter(sums.values()))[0])
            load[task] = [[value / tokens for value in total] for total, tokens in sums.values()]
    return {"num_experts": experts, "layers": layers, "load": load} if load else {}
