"""The states of a bank's slots as tensors: which take part, which learn, and what their router does with its logits."""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from coin_lightning.adapters.moelora.config import MoELoraConfig


class Routing(NamedTuple):
    """Gates from logits where not simply all slots share one softmax.

    Attributes:
        members: long [G, S], the routed slots of each group; E stands behind the last one of a smaller group.
        places: long [E], where each slot stands in the flattened `members`; G * S for one that is not routed.
        group: long [E], the group of each slot; any for one that is not routed.
        constant: [E], weights of slots that are not routed; 0 for those that are, or are off.
        top_k: slots of a group that take part for a token, None = all.
    """

    members: Tensor
    places: Tensor
    group: Tensor
    constant: Tensor
    top_k: int | None

    def gates(self, logits: Tensor) -> Tensor:
        """Logits [N, E] -> gates [N, E]."""
        grouped = F.pad(logits, (0, 1), value=float("-inf"))[:, self.members]
        if self.top_k is not None and self.top_k < grouped.shape[-1]:
            chosen = grouped.topk(self.top_k, dim=-1).indices
            grouped = torch.full_like(grouped, float("-inf")).scatter(-1, chosen, grouped.gather(-1, chosen))
        return F.pad(grouped.softmax(-1).flatten(1), (0, 1))[:, self.places] + self.constant

    def backward(self, gates: Tensor, grad: Tensor) -> Tensor:
        """Gradient at the logits from that at the gates: each group's own softmax, zero for what is not routed."""
        routed = gates - self.constant
        sums = F.pad(grad * routed, (0, 1))[:, self.members].sum(-1)
        return (grad - sums[:, self.group]) * routed


class Flags(NamedTuple):
    """Tensors of a bank's states on one device.

    Attributes:
        off: bool [E], True = takes no part; None = all do.
        frozen: bool [E], True = does not learn; None = all do.
        frozen_ranks: bool [R], the same for the rows of A and B.
        owner: long [R], the slot of each row; None where all have the same rank.
        routing: None where all slots share one softmax.
    """

    off: Tensor | None = None
    frozen: Tensor | None = None
    frozen_ranks: Tensor | None = None
    owner: Tensor | None = None
    routing: Routing | None = None


PLAIN = Flags()


def flags_of(config: MoELoraConfig, device: torch.device) -> Flags:
    """Made once for each state of a bank, however many layers have it."""
    c = config
    special = (c.ranks, c.active_slots, c.trainable_slots, c.groups, c.top_k, c.fixed_weights)
    if special == (None,) * 6:
        return PLAIN
    groups = (tuple(range(c.num_experts)),) if c.groups is None else tuple(map(tuple, c.groups))
    return _flags(
        tuple(c.slot_ranks),
        _tuple(c.active_slots),
        _tuple(c.trainable_slots),
        groups,
        c.top_k,
        tuple(c.fixed_weights or [None] * c.num_experts),
        device,
    )


def _tuple(slots: list[int] | None) -> tuple[int, ...] | None:
    return None if slots is None else tuple(slots)


@lru_cache(maxsize=256)
def _flags(
    ranks: tuple[int, ...],
    active: tuple[int, ...] | None,
    trainable: tuple[int, ...] | None,
    groups: tuple[tuple[int, ...], ...],
    top_k: int | None,
    fixed: tuple[float | None, ...],
    device: torch.device,
) -> Flags:
    slots = range(len(ranks))
    routed = [slot for slot in slots if fixed[slot] is None and (active is None or slot in active)]
    with torch.inference_mode(False):  # cached: also where they are first asked for in inference mode
        owner = torch.repeat_interleave(torch.arange(len(ranks)), torch.tensor(ranks)).to(device)
        off, frozen = (None if on is None else _outside(on, len(ranks), device) for on in (active, trainable))
        plain = len(groups) == 1 and top_k is None and len(routed) == len(ranks)
        return Flags(
            off=off,
            frozen=frozen,
            frozen_ranks=None if frozen is None else frozen[owner],
            owner=None if len(set(ranks)) == 1 else owner,
            routing=None if plain or not routed else _routing(routed, groups, top_k, fixed, off, device),
        )


def _outside(slots: tuple[int, ...], count: int, device: torch.device) -> Tensor:
    return torch.tensor([slot not in slots for slot in range(count)], device=device)


def _routing(
    routed: list[int],
    groups: tuple[tuple[int, ...], ...],
    top_k: int | None,
    fixed: tuple[float | None, ...],
    off: Tensor | None,
    device: torch.device,
) -> Routing:
    count = len(fixed)
    taking = [kept for group in groups if (kept := [slot for slot in group if slot in routed])]
    width = max(map(len, taking))
    places, group = torch.full((count,), len(taking) * width), torch.zeros(count, dtype=torch.long)
    members = torch.full((len(taking), width), count)
    for number, slots in enumerate(taking):
        members[number, : len(slots)] = torch.tensor(slots)
        places[slots] = number * width + torch.arange(len(slots))
        group[slots] = number
    constant = torch.tensor([weight or 0.0 for weight in fixed], device=device)
    if off is not None:
        constant = constant.masked_fill(off, 0.0)
    return Routing(members.to(device), places.to(device), group.to(device), constant, top_k)
