"""Learning-rate schedules as functions of (optimizer, total steps). Steps are counted from the data."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

Ratio = Annotated[float, Field(ge=0, le=1)]


def warmup_steps(total_steps: int, warmup_ratio: float) -> int:
    """Steps of the warm-up: the ratio of all, rounded up as transformers and DeepSpeed do."""
    return math.ceil(total_steps * warmup_ratio)


def _lambda(optimizer: Optimizer, factor: Callable[[int], float]) -> LambdaLR:
    return LambdaLR(optimizer, factor)


def cosine(
    optimizer: Optimizer, total_steps: int, warmup_ratio: Ratio = 0.03, floor: NonNegativeFloat = 0.0
) -> LambdaLR:
    """Linear warm-up, then half a cosine down to `floor` times the base rate (LLaVA-1.5's, CoIN's documented one)."""
    warmup = warmup_steps(total_steps, warmup_ratio)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return _lambda(optimizer, factor)


def log_warmup_constant(optimizer: Optimizer, total_steps: int, warmup_ratio: Ratio = 0.03) -> LambdaLR:
    """Logarithmic warm-up, then constant: what the reference's DeepSpeed `WarmupLR` does (`coin_reference.md` 1.6).

    Counted from 0, step 0 has the rate 0 and step n <= w of a warm-up of w steps log(n) / log(w), for DeepSpeed's
    scheduler counts from -1 and steps behind the optimizer. (Before it set a first rate itself, its step 0 had the full
    one.)
    """
    warmup = max(warmup_steps(total_steps, warmup_ratio), 2)
    return _lambda(optimizer, lambda step: math.log(max(step, 1)) / math.log(warmup) if step < warmup else 1.0)


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The base rate throughout."""
    return _lambda(optimizer, lambda step: 1.0)


def sampled_rates(
    schedule: Callable[..., Any], base_rates: Mapping[str, float], total_steps: int
) -> dict[str, list[float]]:
    """The learning rate of each of `total_steps` optimizer steps, by parameter group: the schedule run dry.

    Args:
        schedule: as in the config, called with (optimizer, total_steps=...).
        base_rates: configured learning rate of each group.
        total_steps: optimizer steps of the task.
    """
    groups: Iterable[dict[str, Any]] = [
        {"name": name, "lr": rate, "params": [torch.zeros(1, requires_grad=True)]} for name, rate in base_rates.items()
    ]
    optimizer = SGD(groups)
    scheduler = schedule(optimizer, total_steps=total_steps)
    optimizer.step()  # once: PyTorch warns when a scheduler steps before its optimizer has
    rates: dict[str, list[float]] = {name: [] for name in base_rates}
    for _ in range(total_steps):
        for group in optimizer.param_groups:
            rates[group["name"]].append(float(group["lr"]))
        scheduler.step()
    return rates
