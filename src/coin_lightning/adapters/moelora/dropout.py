"""Dropout masks of one byte per value, made and applied cheaply on a CPU.

PyTorch draws one random word per value and multiplies by a mask that it first converts to the values' dtype; with
bfloat16 products the two together cost as much as the adapter's matrix products. Here one 64-bit word gives four
values, and a mask is applied by multiplying the bits of a value, taken as an integer, by 0 or 1.
"""

import torch
from torch import Tensor

LEVELS = 2**16
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def keep_mask(rows: int, width: int, keep: float, device: torch.device) -> Tensor:
    """bool `[rows, width]`, True with probability `keep` (on a CPU rounded to a multiple of 2^-16).

    Drawn from the global generator, which activation checkpointing and our checkpoints restore.
    """
    if device.type != "cpu":
        return torch.empty(rows, width, dtype=torch.bool, device=device).bernoulli_(keep)
    count = rows * width
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)  # None: up to 2^63 - 1
    dropped = min(max(round((1.0 - keep) * LEVELS), 1), LEVELS - 1)
    return (words.view(torch.int16)[:count] >= dropped - LEVELS // 2).view(rows, width)


def _bits(x: Tensor) -> Tensor:
    return x.view(_INTEGERS[x.element_size()])


def apply_mask(x: Tensor, mask: Tensor) -> Tensor:
    """x where the mask is True, else 0 (also for infinities and NaN); shapes equal."""
    return (_bits(x) * mask.view(torch.int8)).view(x.dtype)


def apply_mask_(x: Tensor, mask: Tensor) -> Tensor:
    """As `apply_mask`, in place."""
    _bits(x).mul_(mask.view(torch.int8))
    return x
