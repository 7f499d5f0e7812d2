"""Slow direct slot bank for comparison: the formula of the paper, a Python loop over slots, plain autograd."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Groups = Sequence[Sequence[int]]


def _routed_gates(rows: Tensor, router: Tensor, groups: Groups, top_k: int | None) -> dict[int, Tensor]:
    """By slot the gate [N] of each token: a softmax in each group, over its `top_k` largest logits."""
    gates: dict[int, Tensor] = {}
    for group in groups:
        logits = torch.stack([rows @ router[slot] for slot in group], -1)
        for place, slot in enumerate(group):
            total = 0.0
            for other in range(len(group)):
                larger = (logits > logits[:, other : other + 1]).sum(-1)
                kept = larger < (top_k or len(group))
                total = total + torch.where(kept, (logits[:, other] - logits[:, place]).exp(), 0.0)
            larger = (logits > logits[:, place : place + 1]).sum(-1)
            gates[slot] = torch.where(larger < (top_k or len(group)), 1 / total, 0.0)
    return gates


def _loop_branch(
    base: Tensor,
    x: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    ranks: Sequence[int],
    scaling: float,
    router: Tensor | None = None,
    given: Tensor | None = None,
    active: Sequence[int] | None = None,
    fixed: Sequence[float | None] | None = None,
    groups: Groups | None = None,
    top_k: int | None = None,
    mask: Tensor | None = None,
    keep: float = 1.0,
) -> Tensor:
    """base + scaling * sum_s gate_s * B_s A_s drop(x); shapes as `function.moe_branch`, flags as `MoELoraConfig`."""
    rows = x.reshape(-1, x.shape[-1])
    slots = list(range(len(ranks))) if active is None else list(active)
    if router is not None:
        constant = {slot: fixed[slot] for slot in slots if fixed is not None and fixed[slot] is not None}
        members = groups or [range(len(ranks))]
        routed = [[slot for slot in group if slot in slots and slot not in constant] for group in members]
        gates = _routed_gates(rows, router, [group for group in routed if group], top_k)
        gates |= {slot: torch.full(rows.shape[:1], weight, dtype=rows.dtype) for slot, weight in constant.items()}
    else:
        assert given is not None
        gates = {slot: given[:, slot] for slot in slots}
    dropped = rows if mask is None else torch.where(mask, rows / keep, torch.zeros_like(rows))
    out = base.reshape(-1, base.shape[-1])
    for slot in slots:
        own = slice(sum(ranks[:slot]), sum(ranks[: slot + 1]))
        slot_a = a[own] if len(a) == len(b) else a
        out = out + scaling * gates[slot].unsqueeze(-1) * (dropped @ slot_a.t() @ b[own])
    return out.view(base.shape)


@pytest.fixture
def loop_branch() -> Callable[..., Tensor]:
    """The slow function itself."""
    return _loop_branch


class CountOperations(TorchDispatchMode):
    """Counts what reaches the backend."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def count_operations() -> type[CountOperations]:
    """A block that counts."""
    return CountOperations
