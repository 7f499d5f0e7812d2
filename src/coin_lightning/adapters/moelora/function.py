"""Forward and backward of the MoELoRA branch as one autograd function, without a loop over experts.

For tokens x [N, d_in] and slots s of ranks k_s (R = sum of k_s), whose rows stand behind one another in A [R, d_in] and
B [R, d_out]:

    low  = drop(x) A^T         [N, R]
    gate = softmax(router x)   [N, E], fp32
    out  = base + (scaling * gate of the row's slot * low) B      added as it goes

All gate work is on R-wide rows, so the d_out-wide tensors are touched once. Kept for the backward pass: x (shared with
whoever made it), low [N, R], gates [N, E] and the dropout mask (a byte per value); all else is computed again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from coin_lightning.adapters.moelora.dropout import apply_mask, apply_mask_
from coin_lightning.adapters.moelora.flags import PLAIN, Flags


class Branch(NamedTuple):
    """What the branch needs beside tensors that can have gradients.

    Attributes:
        scaling: alpha / r.
        dtype: dtype of the products with A and B (the autocast dtype under autocast, else that of A).
        keep: 1 - dropout probability; used when a mask is given.
        flags: states of the slots.
        sink: called with the gates [N, E], for statistics.
    """

    scaling: float
    dtype: torch.dtype
    keep: float = 1.0
    flags: Flags = PLAIN
    sink: Callable[[Tensor], None] | None = None


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Autocast off: the dtypes inside are chosen explicitly (fp32 router beside bf16 products)."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _gate_dtype(x: Tensor, weights: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(x.dtype, weights.dtype), torch.float32)


def _gates(x: Tensor, router: Tensor | None, given: Tensor | None, flags: Flags) -> Tensor:
    """[N, E], at least fp32: what the router decides, or the given weights with those of slots that are off at 0."""
    if router is None:
        assert given is not None
        gates = given.to(_gate_dtype(x, given))
        return gates if flags.off is None else gates.masked_fill(flags.off, 0.0)
    dtype = _gate_dtype(x, router)
    logits = x.to(dtype) @ router.to(dtype).t()
    return logits.softmax(-1) if flags.routing is None else flags.routing.gates(logits)


def _masked(x: Tensor, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
    x = x.to(dtype)
    return x if mask is None else apply_mask(x, mask)


def _weighted(low: Tensor, weight: Tensor, rank: int, owner: Tensor | None) -> Tensor:
    """low [N, R] (or the [N, rank] of a shared A) times the weight [N, E] of each column's slot, as [N, R].

    Where all slots have the same rank the weight is broadcast, never written out R wide.
    """
    if owner is not None:
        return low * weight.index_select(1, owner)
    return (low.unflatten(1, (-1, rank)) * weight.unsqueeze(-1)).flatten(1)


def _slot_products(x: Tensor, low: Tensor, rank: int, owner: Tensor | None, slots: int) -> Tensor:
    """x [N, R] times low [N, R] (or the [N, rank] of a shared A), summed over the columns of each slot: [N, E]."""
    if owner is None:
        return (x.unflatten(1, (slots, rank)) * low.unflatten(1, (-1, rank))).sum(-1)
    return (x * low) @ F.one_hot(owner, slots).to(x.dtype)  # sums by index would not repeat on a GPU


def forbid(grad: Tensor, frozen: Tensor | None) -> Tensor:
    """Zero the rows of frozen slots; those of a shared A belong to all."""
    if frozen is None or grad.shape[0] != frozen.shape[0]:
        return grad
    return grad.masked_fill_(frozen.unsqueeze(-1), 0.0)


class MoEBranch(torch.autograd.Function):
    """`apply(base, x, a, b, router, given, mask, branch)`; see `moe_branch`."""

    @staticmethod
    def forward(
        ctx: Any,
        base: Tensor,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        router: Tensor | None,
        given: Tensor | None,
        mask: Tensor | None,
        branch: Branch,
    ) -> Tensor:
        """Compute base + branch, shape and dtype of `base`."""
        rows, flat_base = x.reshape(-1, x.shape[-1]), base.reshape(-1, base.shape[-1])
        dtype = branch.dtype
        with without_autocast(x.device.type):
            gates = _gates(rows, router, given, branch.flags)
            low = _masked(rows, mask, dtype) @ a.to(dtype).t()
            if mask is not None:
                low.mul_(1.0 / branch.keep)
            rank, owner = b.shape[0] // gates.shape[1], branch.flags.owner
            mixed, up = _weighted(low, (gates * branch.scaling).to(dtype), rank, owner), b.to(dtype)
            fits = base.dtype == dtype
            out = torch.addmm(flat_base, mixed, up) if fits else (flat_base + mixed @ up).to(base.dtype)
            if branch.sink is not None:
                branch.sink(gates)
        ctx.branch, ctx.x_shape, ctx.given_dtype = branch, x.shape, None if given is None else given.dtype
        ctx.save_for_backward(rows, a, b, router, mask, low, gates)
        ctx.set_materialize_grads(False)
        return out.view(base.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of (base, x, a, b, router, given); those nobody needs are None. Twice differentiating raises."""
        if grad is None:
            return (None,) * 8
        need_base, need_x, need_a, need_b, need_router, need_given = ctx.needs_input_grad[:6]
        rows, a, b, router, mask, low, gates = ctx.saved_tensors
        branch: Branch = ctx.branch
        dtype, flags, slots = branch.dtype, branch.flags, gates.shape[1]
        rank, owner = b.shape[0] // slots, branch.flags.owner
        grad_x = grad_a = grad_b = grad_router = grad_given = grad_gates = None
        with without_autocast(grad.device.type):
            rows_out = grad.reshape(-1, grad.shape[-1]).to(dtype)
            grad_mixed = rows_out @ b.to(dtype).t()
            weight = (gates * branch.scaling).to(dtype)
            if need_b:
                grad_b = _weighted(low, weight, rank, owner).t() @ rows_out
            if need_x or need_router or need_given:
                at_gates = _slot_products(grad_mixed, low, rank, owner, slots).to(gates.dtype).mul_(branch.scaling)
                grad_gates = before_gates(at_gates, gates, flags, softmax=router is not None)
                grad_given = grad_gates.to(ctx.given_dtype) if need_given else None
            if need_x or need_a or need_router:
                grad_low = _weighted(grad_mixed, weight, rank, owner)
                if a.shape[0] < b.shape[0]:
                    grad_low = grad_low.unflatten(1, (slots, rank)).sum(1)
                grad_x, grad_a, grad_router = _input_side(
                    grad_low.mul_(1.0 / branch.keep), grad_gates, rows, a.to(dtype), router, mask, need_x=need_x
                )
                grad_x = grad_x.to(rows.dtype).view(ctx.x_shape) if grad_x is not None else None
        grads = [
            None if g is None or not needed else forbid(g, frozen).to(like.dtype)
            for g, needed, like, frozen in (
                (grad_a, need_a, a, flags.frozen_ranks),
                (grad_b, need_b, b, flags.frozen_ranks),
                (grad_router, need_router, router, flags.frozen),
            )
        ]
        return (grad if need_base else None), grad_x, *grads, grad_given, None, None


def _input_side(
    grad_low: Tensor,
    grad_gates: Tensor | None,
    rows: Tensor,
    a: Tensor,
    router: Tensor | None,
    mask: Tensor | None,
    *,
    need_x: bool,
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Gradients of x [N, d_in], A [r, d_in] and the router, in the dtype of A.

    Without a dropout mask A and R see the same x, so both go through one product in each direction: a product with the
    few rows of R alone is limited by reading x, and costs almost as much as the one with A.
    """
    dtype = a.dtype
    if router is None or grad_gates is None:
        grad_x = grad_low @ a if need_x else None
        grad_x = apply_mask_(grad_x, mask) if grad_x is not None and mask is not None else grad_x
        return grad_x, grad_low.t() @ _masked(rows, mask, dtype), None
    if mask is None:
        left, right = torch.cat([grad_low, grad_gates.to(dtype)], 1), torch.cat([a, router.to(dtype)])
        grad_a, grad_router = (left.t() @ rows.to(dtype)).split([a.shape[0], router.shape[0]])
        return (left @ right if need_x else None), grad_a, grad_router
    gates = grad_gates.to(dtype)
    grad_x = apply_mask_(grad_low @ a, mask).addmm_(gates, router.to(dtype)) if need_x else None
    return grad_x, grad_low.t() @ _masked(rows, mask, dtype), gates.t() @ rows.to(dtype)


def before_gates(grad: Tensor, gates: Tensor, flags: Flags, *, softmax: bool) -> Tensor:
    """From the gradient at the gates [N, E] to that at the router's logits (softmax) or at the given weights."""
    if not softmax:
        return grad if flags.off is None else grad.masked_fill_(flags.off, 0.0)
    if flags.routing is not None:
        return flags.routing.backward(gates, grad)
    return (grad - (grad * gates).sum(-1, keepdim=True)).mul_(gates)


def moe_branch(
    base: Tensor,
    x: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    router: Tensor | None = None,
    given: Tensor | None = None,
    mask: Tensor | None = None,
    branch: Branch,
) -> Tensor:
    """Add the MoELoRA branch to the base layer's output.

    Args:
        base: [..., d_out], output of the base layer.
        x: [..., d_in], its input.
        a: [R, d_in], the rows of one slot behind those of the other, or [k, d_in] shared by all slots.
        b: [R, d_out], in the same order.
        router: [E, d_in] (gates = softmax(router x)), or None with `given`.
        given: [N, E] weights of the slots for each of the N rows of x.
        mask: [N, d_in] bool, True = kept by dropout.
        branch: the remaining settings.

    Returns:
        [..., d_out] in the dtype of `base`.
    """
    return MoEBranch.apply(base, x, a, b, router, given, mask, branch)
