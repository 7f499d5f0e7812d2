"""`TaskProgress`: what a task has really been learned from, counted where it happens."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from coin_lightning.errors import RunError

DIVERGED = (
    "Nothing of this step is kept. Lower optimizer.lr, or look at these samples; a changed setting needs a run folder "
    "of its own (experiment_name=...)"
)


@dataclass
class TaskProgress:
    """What this process has really learned from in the present task, counted where it happens.

    Attributes:
        steps: optimizer steps, dropped ones too: the schedule has moved on.
        dropped: steps that a loss scaler left out, since their gradients were not finite in float16.
        batches: forward passes with a finite loss.
        samples: samples in them.
        images: images in them.
        tokens: input tokens, padding included.
        loss_first, loss_last: the task's own loss in the first and the last of them.
    """

    steps: int = 0
    dropped: int = 0
    batches: int = 0
    samples: int = 0
    images: int = 0
    tokens: int = 0
    loss_first: float | None = None
    loss_last: float | None = None

    def count(self, batch: dict[str, Any], loss: Tensor, extra: Tensor | None) -> None:
        """Add a batch.

        Args:
            batch: as training gets it.
            loss: its own, mean over its targets.
            extra: what methods add to it.

        Raises:
            RunError: one of them is not finite.
        """
        value = loss.item()
        if not math.isfinite(value) or not (extra is None or math.isfinite(extra.item())):
            kind = f"loss {value}" if extra is None else f"loss {value}, added by the method {extra.item()}"
            ids = ", ".join(map(str, batch["ids"]))
            raise RunError(f"training diverged: {kind} in step {self.steps + 1} of the task, samples {ids}. {DIVERGED}")
        self.batches, self.samples = self.batches + 1, self.samples + batch["samples"]
        if not batch["samples"]:  # another process learns from it
            return
        self.tokens += batch["input_ids"].numel()
        self.images += images_in(batch)
        self.loss_first = value if self.loss_first is None else self.loss_first
        self.loss_last = value


def images_in(batch: Mapping[str, Any]) -> int:
    """Images of a batch."""
    return sum(map(len, batch["grids"]))
