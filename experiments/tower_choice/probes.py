"""Closed-form probes of frozen features: ridge regression, 1-NN, boxes. Nothing here draws without a fixed seed."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SEED = 0
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def shuffled(count: int) -> Tensor:
    """The numbers below `count` in an order that is always the same."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(SEED))


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """`[n, tokens, width]` to `[n, tokens * width]`: each value centred, each channel scaled, by `train` alone."""
    centre = train.mean(0)
    scale = (train - centre).flatten(0, 1).std(0).clamp_min(1e-6)
    return ((train - centre) / scale).flatten(1), ((test - centre) / scale).flatten(1)


def ridge(train: Tensor, targets: Tensor, test: Tensor, penalties: Sequence[float]) -> list[Tensor]:
    """Ridge regression in dual form, `[n, d], [n, k], [m, d]` to one `[m, k]` for each penalty.

    Penalties are relative to the mean of |x|^2; the mean of the targets is not penalised.
    """
    scale = train.square().sum(1).mean()
    mean = targets.mean(0)
    kernel, cross = train @ train.T / scale, test @ train.T / scale
    identity = torch.eye(len(train), dtype=train.dtype)
    return [cross @ torch.linalg.solve(kernel + p * identity, targets - mean) + mean for p in penalties]


def tuned_ridge(train: Tensor, targets: Tensor, test: Tensor) -> Tensor:
    """Ridge on `[n, tokens, width]`, with the penalty that does best on a held-out fifth of `train`."""
    order = shuffled(len(train))
    held, kept = order[: len(train) // 5], order[len(train) // 5 :]
    seen, unseen = standardised(train[kept], train[held])
    errors = [(found - targets[held]).square().mean().item() for found in ridge(seen, targets[kept], unseen, PENALTIES)]
    known, asked = standardised(train, test)
    return ridge(known, targets, asked, [PENALTIES[errors.index(min(errors))]])[0]


def nearest(train: Tensor, test: Tensor) -> Tensor:
    """Index of the training row with the largest cosine, features `[n, d]` centred by `train`: `[m]`."""
    centre = train.mean(0)
    return (F.normalize(test - centre, dim=1) @ F.normalize(train - centre, dim=1).T).argmax(1)


def corners(boxes: Tensor) -> Tensor:
    """`[n, 4]` centre and size to `[x1, y1, x2, y2]`; a negative size counts as none."""
    half = boxes[:, 2:].clamp_min(0) / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of paired boxes `[n, 4]` given by corners: `[n]`."""
    sides = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    overlap = sides.clamp_min(0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return overlap / (areas[0] + areas[1] - overlap).clamp_min(1e-9)


def pooled(tokens: Tensor, side: int) -> Tensor:
    """Mean-pool a square grid in row order `[n, s * s, width]` to `[n, side * side, width]`."""
    grid = tokens.transpose(1, 2).unflatten(2, (int(tokens.shape[1] ** 0.5), -1))
    return F.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2)
