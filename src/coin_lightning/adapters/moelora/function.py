"""Forward and backward of the MoELoRA branch as one autograd function, without a loop over experts.

For tokens x [N, d_in] and experts e (rank k each, E * k = r):

    low_e = A_e drop(x)        one product with A seen as [r, d_in]
    gate  = softmax(R x)       fp32
    out   = base + sum_e (scaling * gate_e * low_e) B_e^T     one product with B seen as [r, d_out], added as it goes

All gate work is on r-wide rows, so the d_out-wide tensors are touched once. Kept for the backward pass: x (shared with
whoever made it), low [N, r], gates [N, E] and the dropout mask (a byte per value); all else is computed again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from coin_lightning.adapters.moelora.dropout import apply_mask, apply_mask_


class Branch(NamedTuple):
    """What the branch needs beside tensors that can have gradients.

    Attributes:
        scaling: alpha / r.
        dtype: dtype of the products with A and B (the autocast dtype under autocast, else that of A).
        keep: 1 - dropout probability; used when a mask is given.
        inactive: bool [E], True = gate 0, or None.
        frozen: bool [E], True = no gradient, or None.
        sink: called with the gates [N, E], for statistics.
    """

    scaling: float
    dtype: torch.dtype
    keep: float = 1.0
    inactive: Tensor | None = None
    frozen: Tensor | None = None
    sink: Callable[[Tensor], None] | None = None


def _plain(device_type: str) -> AbstractContextManager[Any]:
    """Autocast off: the dtypes inside are chosen explicitly (fp32 router beside bf16 products)."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _gate_dtype(x: Tensor, weights: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(x.dtype, weights.dtype), torch.float32)


def _gates(x: Tensor, router: Tensor | None, given: Tensor | None, inactive: Tensor | None) -> Tensor:
    """[N, E], at least fp32: the router's softmax over active slots, or the given weights with inactive slots at 0."""
    if router is None:
        assert given is not None
        gates = given.to(_gate_dtype(x, given))
        return gates if inactive is None else gates.masked_fill(inactive, 0.0)
    dtype = _gate_dtype(x, router)
    logits = x.to(dtype) @ router.to(dtype).t()
    return (logits if inactive is None else logits.masked_fill_(inactive, float("-inf"))).softmax(-1)


def _up_matrix(b: Tensor, dtype: torch.dtype) -> Tensor:
    """B [E, d_out, k] as [E * k, d_out]."""
    return b.to(dtype).transpose(1, 2).reshape(-1, b.shape[1])


def _masked(x: Tensor, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
    x = x.to(dtype)
    return x if mask is None else apply_mask(x, mask)


def _mix(low: Tensor, weight: Tensor) -> Tensor:
    """low [N, E or 1, k] times weight [N, E, 1], as [N, E * k]; the weight is broadcast, never written out r wide."""
    return (low * weight).flatten(1)


def _forbid(grad: Tensor, frozen: Tensor | None) -> Tensor:
    """Zero the rows of frozen slots (dimension 0)."""
    if frozen is None or grad.shape[0] != frozen.shape[0]:
        return grad
    return grad.masked_fill_(frozen.view(-1, *[1] * (grad.dim() - 1)), 0.0)


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
        with _plain(x.device.type):
            gates = _gates(rows, router, given, branch.inactive)
            low = _masked(rows, mask, dtype) @ a.to(dtype).flatten(0, 1).t()
            if mask is not None:
                low.mul_(1.0 / branch.keep)
            mixed = _mix(low.unflatten(1, a.shape[:2]), (gates * branch.scaling).to(dtype).unsqueeze(-1))
            up = _up_matrix(b, dtype)
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
        dtype, low = branch.dtype, low.unflatten(1, a.shape[:2])
        grad_x = grad_a = grad_b = grad_router = grad_given = grad_gates = None
        with _plain(grad.device.type):
            rows_out = grad.reshape(-1, grad.shape[-1]).to(dtype)
            grad_mixed = (rows_out @ _up_matrix(b, dtype).t()).unflatten(1, (b.shape[0], b.shape[2]))
            weight = (gates * branch.scaling).to(dtype).unsqueeze(-1)
            if need_b:
                flat = _mix(low, weight).t() @ rows_out
                grad_b = flat.unflatten(0, (b.shape[0], b.shape[2])).transpose(1, 2)
            if need_x or need_router or need_given:
                grad_gates = _gate_gradient(grad_mixed, low, gates, branch, softmax=router is not None)
                grad_given = grad_gates.to(ctx.given_dtype) if need_given else None
            if need_x or need_a or need_router:
                grad_low = grad_mixed.mul_(weight)
                grad_low = (grad_low.sum(1) if a.shape[0] < b.shape[0] else grad_low.flatten(1)).mul_(1.0 / branch.keep)
                grad_x, grad_a, grad_router = _input_side(
                    grad_low, grad_gates, rows, a.to(dtype).flatten(0, 1), router, mask, need_x=need_x
                )
                grad_x = grad_x.to(rows.dtype).view(ctx.x_shape) if grad_x is not None else None
                grad_a = grad_a.view(a.shape) if need_a else None
        grads = [
            None if g is None or not needed else _forbid(g, branch.frozen).to(like.dtype)
            for g, needed, like in ((grad_a, need_a, a), (grad_b, need_b, b), (grad_router, need_router, router))
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


def _gate_gradient(grad_mixed: Tensor, low: Tensor, gates: Tensor, branch: Branch, *, softmax: bool) -> Tensor:
    """Gradient at the router logits (softmax) or at the given weights, [N, E]."""
    grad = (grad_mixed * low).sum(-1).to(gates.dtype).mul_(branch.scaling)
    if softmax:
        return (grad - (grad * gates).sum(-1, keepdim=True)).mul_(gates)
    return grad if branch.inactive is None else grad.masked_fill_(branch.inactive, 0.0)


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
        a: [E, k, d_in], or [1, k, d_in] shared by all experts.
        b: [E, d_out, k].
        router: [E, d_in] (gates = softmax(R x)), or None with `given`.
        given: [N, E] weights of the slots for each of the N rows of x.
        mask: [N, d_in] bool, True = kept by dropout.
        branch: the remaining settings.

    Returns:
        [..., d_out] in the dtype of `base`.
    """
    return MoEBranch.apply(base, x, a, b, router, given, mask, branch)
