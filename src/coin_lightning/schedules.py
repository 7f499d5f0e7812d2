"""Learning-rate schedules as functions of (optimizer, total steps). Steps are counted from the data."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def _warmup_steps(total_steps: int, warmup_ratio: float) -> int:
    return math.ceil(total_steps * warmup_ratio)


def _lambda(optimizer: Optimizer, factor: Callable[[int], float]) -> LambdaLR:
    return LambdaLR(optimizer, factor)


def cosine(optimizer: Optimizer, total_steps: int, warmup_ratio: float = 0.03, floor: float = 0.0) -> LambdaLR:
    """Linear warm-up, then half a cosine down to `floor` times the base rate (LLaVA-1.5's, CoIN's documented one)."""
    warmup = _warmup_steps(total_steps, warmup_ratio)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return _lambda(optimizer, factor)


def log_warmup_constant(optimizer: Optimizer, total_steps: int, warmup_ratio: float = 0.03) -> LambdaLR:
    """Logarithmic warm-up, then constant: what the reference's DeepSpeed `WarmupLR` does (`coin_reference.md` 1.6).

    factor(step) = log(step + 1) / log(warm-up steps) below the warm-up, as DeepSpeed computes it.
    """
    warmup = max(_warmup_steps(total_steps, warmup_ratio), 2)
    return _lambda(optimizer, lambda step: math.log(step + 1) / math.log(warmup) if step < warmup else 1.0)


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The base rate throughout."""
    return _lambda(optimizer, lambda step: 1.0)
