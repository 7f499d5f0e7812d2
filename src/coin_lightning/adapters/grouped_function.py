"""Adapted linear layers that read the same tensor, as one autograd function: what they share is computed once.

For P layers on x [N, d_in], each with a frozen weight W_p and a bank of E slots of equal rank k (R = E k), or with
plain LoRA of rank R:

    low    = x [A_1; ...; A_P]^T                            [N, P R]    one product
    gates  = softmax over slots of [router_1; ...] x^T      [P, E, N]   one product in fp32; LoRA has none
    out_p  = x W_p^T + bias_p + scaling * (gates_p of each column's slot * low_p) B_p

and in the backward pass one product for the gradients of all A and routers, and one gradient of x. Tokens stand last
in the gates: a softmax over 8 neighbouring numbers takes ten times as long on a CPU. The trained weights are rounded
to the dtype of the products once, in the forward pass. Kept for the backward pass: x, low, gates and these rounded
weights.

`moelora.function` computes one layer by itself, and all that this one does not know: dropout, a shared A, slots of
different ranks, slot weights that learn, bases that are no plain `nn.Linear`.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from coin_lightning.adapters.moelora.flags import PLAIN, Flags
from coin_lightning.adapters.moelora.function import before_gates, forbid, without_autocast


class Bank(NamedTuple):
    """One layer of a group.

    Attributes:
        weight: [d_out, d_in], frozen.
        bias: [d_out], frozen, or None.
        down: A [R, d_in].
        up: B [R, d_out].
        router: [E, d_in], or None.
        given: [N, E], weights of the slots in place of a router, without a gradient; None with a router and for LoRA.
        scaling: of the branch.
        flags: states of the slots; `owner` is None.
        sink: called with the gates [N, E], for statistics.
    """

    weight: Tensor
    bias: Tensor | None
    down: Tensor
    up: Tensor
    router: Tensor | None = None
    given: Tensor | None = None
    scaling: float = 1.0
    flags: Flags = PLAIN
    sink: Callable[[Tensor], None] | None = None

    @property
    def slots(self) -> int:
        """E; 0 for LoRA."""
        weights = self.router if self.given is None else self.given.t()
        return 0 if weights is None else len(weights)

    def fits(self, other: "Bank") -> bool:
        """Whether both can be in one group: they differ in the numbers of their weights and in d_out alone."""
        return (
            self.down.shape == other.down.shape
            and self.slots == other.slots
            and (self.router is None) == (other.router is None)
            and self.scaling == other.scaling
            and self.flags is other.flags
        )


class Sizes(NamedTuple):
    """What the products need beside tensors; `dtype` is theirs, and `routed` says whether a router gives the gates."""

    layers: int
    rank: int
    slots: int
    scaling: float
    flags: Flags
    dtype: torch.dtype
    routed: bool

    def owners(self, device: torch.device) -> Tensor:
        """[P E, P R], see `_owners`."""
        return _owners(self.layers, self.slots, self.rank, self.dtype, device)


def _gates(rows: Tensor, banks: Sequence[Bank], flags: Flags) -> Tensor:
    """[P, E, N], at least fp32."""
    if banks[0].router is None:
        gates = torch.stack([bank.given.t().to(_wide(bank.given)) for bank in banks if bank.given is not None])
        return gates if flags.off is None else gates.masked_fill(flags.off.unsqueeze(-1), 0.0)
    router = torch.cat([bank.router for bank in banks if bank.router is not None])
    dtype = torch.promote_types(_wide(rows), router.dtype)
    logits = (rows.to(dtype) @ router.to(dtype).t()).t().contiguous().unflatten(0, (len(banks), -1))
    if flags.routing is None:
        return logits.softmax(1)
    return _by_layer(flags.routing.gates(_by_token(logits)), len(banks))


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _by_token(gates: Tensor) -> Tensor:
    """[P, E, N] -> [P N, E], where `flags` compute."""
    return gates.transpose(1, 2).flatten(0, 1)


def _by_layer(gates: Tensor, layers: int) -> Tensor:
    """[P N, E] -> [P, E, N]."""
    return gates.unflatten(0, (layers, -1)).transpose(1, 2)


@cache
def _owners(layers: int, slots: int, rank: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[P E, P R], 1 where the row's slot owns the column, else 0. Products with it copy and add exactly."""
    return torch.eye(layers * slots, dtype=dtype, device=device).repeat_interleave(rank // slots, 1)


class GroupedLinears(torch.autograd.Function):
    """`apply(x, sizes, banks, *downs, *ups, *routers)`; see `grouped_linears`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: Sizes, banks: Sequence[Bank], *learned: Tensor) -> tuple[Tensor, ...]:
        """Outputs of all layers, [..., d_out] in the dtype of the products."""
        dtype, rank = sizes.dtype, sizes.rank
        rows = x.reshape(-1, x.shape[-1])
        with without_autocast(x.device.type):
            gates = _gates(rows, banks, sizes.flags) if sizes.slots else None
            rows = rows.to(dtype)
            downs, ups, routers = _split(learned, sizes.layers)
            ups = [up.to(dtype) for up in ups]
            right = torch.cat([*downs, *routers]).to(dtype)
            low = rows @ right[: sizes.layers * rank].t()
            mixed = low if gates is None else low * _spread(gates, sizes)
            outs = []
            for bank, part, up in zip(banks, mixed.split(rank, 1), ups, strict=True):
                weight = bank.weight.to(dtype).t()
                out = rows @ weight if bank.bias is None else torch.addmm(bank.bias.to(dtype), rows, weight)
                outs.append(out.addmm_(part, up, alpha=sizes.scaling).view(*x.shape[:-1], -1))
            for number, bank in enumerate(banks):
                if bank.sink is not None and gates is not None:
                    bank.sink(gates[number].t())
        ctx.sizes, ctx.shape, ctx.x_dtype = sizes, x.shape, x.dtype
        ctx.learned_dtype = learned[0].dtype
        ctx.save_for_backward(rows, low, gates, right, *ups, *(bank.weight for bank in banks))
        return tuple(outs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and of all learned weights. Twice differentiating raises."""
        sizes: Sizes = ctx.sizes
        rows, low, gates, right, *rest = ctx.saved_tensors
        ups, weights = rest[: sizes.layers], rest[sizes.layers :]
        with without_autocast(rows.device.type):
            outs = [grad.reshape(-1, grad.shape[-1]).to(sizes.dtype) for grad in grads]
            left = torch.cat([out @ up.t() for out, up in zip(outs, ups, strict=True)], 1).mul_(sizes.scaling)
            mixed = low
            if gates is not None:
                spread = _spread(gates, sizes)
                mixed, at_gates = low * spread, left * low
                left.mul_(spread)
                if sizes.routed:
                    left = torch.cat([left, _at_logits(at_gates, gates, sizes).to(sizes.dtype)], 1)
            grad_right = (left.t() @ rows).to(ctx.learned_dtype)
            grad_ups = [
                (part.t() @ out).to(ctx.learned_dtype).mul_(sizes.scaling)
                for part, out in zip(mixed.split(sizes.rank, 1), outs, strict=True)
            ]
            grad_x = _at_x(outs, weights, left, right, ctx) if ctx.needs_input_grad[0] else None
        count = sizes.layers * sizes.rank
        grad_downs, grad_routers = grad_right[:count].split(sizes.rank), grad_right[count:]
        frozen = sizes.flags
        return (
            grad_x,
            None,
            None,
            *(forbid(grad, frozen.frozen_ranks) for grad in (*grad_downs, *grad_ups)),
            *(forbid(grad, frozen.frozen) for grad in (grad_routers.split(sizes.slots) if sizes.routed else ())),
        )


def _split(learned: Sequence[Tensor], layers: int) -> tuple[Sequence[Tensor], ...]:
    """All A, all B, and the routers, if there are any."""
    return learned[:layers], learned[layers : 2 * layers], learned[2 * layers :]


def _spread(gates: Tensor, sizes: Sizes) -> Tensor:
    """Gates [P, E, N] as the factors [N, P R] of the columns of `low`."""
    return gates.flatten(0, 1).to(sizes.dtype).t() @ sizes.owners(gates.device)


def _at_logits(at_gates: Tensor, gates: Tensor, sizes: Sizes) -> Tensor:
    """Gradient at the routers' logits [N, P E] from the products [N, P R] whose sums over a slot are those at gates."""
    grad = (sizes.owners(gates.device) @ at_gates.t()).to(gates.dtype).view_as(gates)
    if sizes.flags.routing is None:
        grad = torch._softmax_backward_data(grad, gates, 1, gates.dtype)
    else:
        grad = _by_layer(before_gates(_by_token(grad), _by_token(gates), sizes.flags, softmax=True), sizes.layers)
    return grad.flatten(0, 1).t()


def _at_x(outs: Sequence[Tensor], weights: Sequence[Tensor], left: Tensor, right: Tensor, ctx: Any) -> Tensor:
    """Gradient of x: all layers and branches add into one tensor."""
    grad = outs[0] @ weights[0].to(left.dtype)
    for out, weight in zip(outs[1:], weights[1:], strict=True):
        grad.addmm_(out, weight.to(left.dtype))
    grad = grad.addmm_(left, right)
    return grad.to(ctx.x_dtype).view(ctx.shape)


def grouped_linears(x: Tensor, banks: Sequence[Bank], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Outputs of adapted layers on the same input.

    Args:
        x: [..., d_in].
        banks: the layers; each `fits` the first.
        dtype: of the products.

    Returns:
        [..., d_out] of each layer, in `dtype`.
    """
    first = banks[0]
    routers = [bank.router for bank in banks if bank.router is not None]
    sizes = Sizes(
        len(banks), len(first.down), first.slots, first.scaling, first.flags, dtype, routed=first.router is not None
    )
    learned = (*(bank.down for bank in banks), *(bank.up for bank in banks), *routers)
    outs: tuple[Tensor, ...] = GroupedLinears.apply(x, sizes, banks, *learned)
    return outs
