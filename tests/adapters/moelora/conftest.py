"""Slow direct MoELoRA for comparison: the formula of the paper, a Python loop over experts, plain autograd."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


def _loop_branch(
    base: Tensor,
    x: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    scaling: float,
    router: Tensor | None = None,
    given: Tensor | None = None,
    active: list[int] | None = None,
    mask: Tensor | None = None,
    keep: float = 1.0,
) -> Tensor:
    """base + scaling * sum_e gate_e * B_e A_e drop(x); shapes as `function.moe_branch`, `active`: slots that count."""
    rows = x.reshape(-1, x.shape[-1])
    slots = list(range(b.shape[0])) if active is None else active
    if router is not None:
        chosen = torch.softmax(torch.stack([rows @ router[e] for e in slots], -1), -1)
    else:
        assert given is not None
        chosen = given[:, slots]
    dropped = rows if mask is None else torch.where(mask, rows / keep, torch.zeros_like(rows))
    out = base.reshape(-1, base.shape[-1])
    for position, e in enumerate(slots):
        expert_a = a[e] if a.shape[0] > 1 else a[0]
        out = out + scaling * chosen[:, position : position + 1] * (dropped @ expert_a.t() @ b[e].t())
    return out.view(base.shape)


@pytest.fixture
def loop_branch() -> Callable[..., Tensor]:
    """The slow function itself."""
    return _loop_branch
