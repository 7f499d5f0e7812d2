"""O-LoRA: a new low-rank pair for each task, orthogonal to those before, which stay and are not changed.

Wang et al., "Orthogonal Subspace Learning for Language Model Continual Learning", Findings of EMNLP 2023 (arXiv
2310.14152).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from peft import PeftConfig
from pydantic import NonNegativeFloat
from torch import Tensor

from coin_lightning.adapters.moelora import moelora_layers
from coin_lightning.methods.base import Context, Method
from coin_lightning.methods.step import StepOutput
from coin_lightning.methods.task_slots import bank_of_one, hold_slots


class OLoRA(Method):
    """y = W x + sum over tasks i <= t of s B_i A_i x in training and in answering; only A_t and B_t learn.

    Added to the loss: `orthogonal` * sum over layers and i < t of the sum of |A_t A_i^T|, as in the authors' code, or
    of its squares, as in the paper (equation 8); and `norm` * sum over layers of ||A_t|| + ||B_t||. The pairs are slots
    of a bank that grows by one for each task, each of weight 1; first values of A are the bank's, N(0, 0.01^2).

    Args:
        orthogonal: lambda_1.
        norm: lambda_2.
        penalty: `absolute` or `squared` entries.
        name: shown in reports.
    """

    def __init__(
        self,
        orthogonal: NonNegativeFloat = 0.5,
        norm: NonNegativeFloat = 0.0,
        penalty: Literal["absolute", "squared"] = "absolute",
        name: str = "olora",
    ) -> None:
        super().__init__(name)
        self.orthogonal, self.norm, self.penalty = orthogonal, norm, penalty
        self._most, self._slot = 1, 0
        self._layers: tuple[Any, ...] = ()

    def adapter(self, config: PeftConfig, tasks: Sequence[str]) -> PeftConfig:
        """A bank of one slot, which will grow; raises as `bank_of_one`."""
        self._most = max(len(tasks), 1)
        return bank_of_one(self.name, config)

    def restore(self, model: Any, position: int) -> None:
        """The slots of the tasks so far; before the first, whose B is zero, that slot. Raises as `hold_slots`."""
        self._layers = tuple(moelora_layers(model.peft).values())
        self._choose(model, max(position, 1))

    def before_experience(self, context: Context) -> None:
        """One more slot, which learns."""
        self._choose(context.module, context.position)

    def loss(self, step: StepOutput, batch: dict[str, Any]) -> Tensor | None:
        """Both penalties; nothing when there are none."""
        parts = []
        for layer in self._layers:
            a, b = layer.slot("default", self._slot)
            if self.orthogonal and self._slot:
                earlier = layer.moelora_A["default"][: -len(a)].detach()  # the new slot is the last
                overlap = a @ earlier.t()
                entries = overlap.abs() if self.penalty == "absolute" else overlap.square()
                parts.append(self.orthogonal * entries.sum())
            if self.norm:
                parts.append(self.norm * (a.norm() + b.norm()))
        return torch.stack(parts).sum() if parts else None

    def _choose(self, model: Any, position: int) -> None:
        self._slot = min(position, self._most) - 1  # joint training is one task at the last position
        hold_slots(model, self._slot + 1)
