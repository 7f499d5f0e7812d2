"""Greedy answers of many samples at once, without what a general generation loop must do for others.

Samples are padded on the right, so that the first pass needs no mask; the head runs at last tokens only; a sample that
has ended leaves the batch; and samples that show the same images share one pass over the images and what stands before
them (see `Shared`). Every token is that of `generate` of transformers, up to the rounding of other batches.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from coin_lightning.backbones.row_cache import ROOM, RowCache, same_beginning

LEAVES = 0.75
"""The batch is cut down when no more than this share of it goes on: each cut copies the cache."""


Images = Callable[[Sequence[int]], Mapping[str, Any]]


class Core(Protocol):
    """A model of transformers without its head."""

    def __call__(self, **inputs: Any) -> Any: ...


@dataclass(frozen=True)
class Prompts:
    """What is asked, padded on the right.

    Attributes:
        ids: `[n, l]`.
        lengths: `[n]`, at least 1.
        positions: `[n, l]` or, of several kinds, `[k, n, l]`; None: 0, 1, 2 ...
    """

    ids: Tensor
    lengths: Tensor
    positions: Tensor | None = None

    @classmethod
    def of(cls, ids: Tensor, mask: Tensor, positions: Tensor | None = None) -> "Prompts":
        """From a batch padded on the left, or anywhere: real tokens are those where `mask` `[n, l]` is not 0."""
        lengths = mask.long().sum(dim=1)
        order = torch.argsort(mask == 0, dim=1, stable=True)[:, : int(lengths.max())]
        if positions is not None:
            positions = positions.gather(-1, order.expand(*positions.shape[:-1], order.shape[1]))
        return cls(ids.gather(1, order), lengths, positions)

    @property
    def real(self) -> Tensor:
        """Bool `[n, l]`."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths.unsqueeze(1)

    def part(self, rows: Tensor, starts: Tensor, ends: Tensor) -> "Prompts":
        """Of some rows the tokens from `starts` up to `ends` `[m]`."""
        lengths = ends - starts
        wide = starts.unsqueeze(1) + torch.arange(int(lengths.max()), device=self.ids.device)
        wide = wide.clamp(max=self.ids.shape[1] - 1)
        positions = self.positions
        if positions is not None:
            positions = positions[..., rows, :]
            positions = positions.gather(-1, wide.expand(*positions.shape[:-1], wide.shape[1]))
        return Prompts(self.ids[rows].gather(1, wide), lengths, positions)

    def next_positions(self) -> Tensor | None:
        """Of the token behind the last, `[n]` or `[k, n]`: one on from it, as text goes."""
        if self.positions is None:
            return None
        last = (self.lengths - 1).expand(self.positions.shape[:-1]).unsqueeze(-1)
        return self.positions.gather(-1, last).squeeze(-1) + 1


@dataclass(frozen=True)
class Shared:
    """Samples that begin alike, images included.

    Attributes:
        first: of each group, the sample whose beginning is computed `[groups]`.
        group: of each sample `[n]`.
        lengths: tokens of each group's beginning `[groups]`.
    """

    first: Tensor
    group: Tensor
    lengths: Tensor


def shared_beginnings(
    prompts: Prompts, same_images: Sequence[int], image_token: int, worth: float = 0.7
) -> Shared | None:
    """Groups of samples with the same images and the same tokens up to behind these; None where it does not pay.

    Args:
        prompts: what is asked.
        same_images: of each sample, a number that those with the same images in the same order share.
        image_token: every one of them lies in the beginning.
        worth: the tokens to be computed must fall to this share of all.
    """
    members: dict[int, list[int]] = {}
    for sample, number in enumerate(same_images):
        members.setdefault(number, []).append(sample)
    rows = [ids[:length] for ids, length in zip(prompts.ids.tolist(), prompts.lengths.tolist(), strict=True)]
    lengths = []
    for samples in members.values():
        shared = min(same_beginning([rows[sample] for sample in samples]), *(len(rows[s]) - 1 for s in samples))
        if any(image_token in rows[sample][shared:] for sample in samples):
            return None
        lengths.append(max(shared, 0))
    total = sum(map(len, rows))
    saved = sum(length * (len(samples) - 1) for length, samples in zip(lengths, members.values(), strict=True))
    if min(lengths) < 1 or total - saved > worth * total:
        return None
    numbers = {number: at for at, number in enumerate(members)}
    place = prompts.ids.device
    return Shared(
        torch.tensor([samples[0] for samples in members.values()], device=place),
        torch.tensor([numbers[number] for number in same_images], device=place),
        torch.tensor(lengths, device=place),
    )


def in_parts(lengths: Sequence[int], tokens: int | None) -> list[list[int]]:
    """Samples that are read together, longest first.

    Args:
        lengths: of their prompts.
        tokens: at most so many in a part, padding counted, unless one prompt has more; None: one part, in order.
    """
    if tokens is None:
        return [list(range(len(lengths)))]
    parts: list[list[int]] = []
    for sample in sorted(range(len(lengths)), key=lambda sample: -lengths[sample]):
        if not parts or (len(parts[-1]) + 1) * lengths[parts[-1][0]] > tokens:
            parts.append([])
        parts[-1].append(sample)
    return parts


class Greedy:
    """One batch on its way to its answers.

    Args:
        core: the model without head, and `head`.
        layers: of its decoder.
        ends: tokens that end an answer.
        on_pass: called before each pass with how often each position that enters it counts, `[m, s]`: 0 is padding, or
            a sample that has ended; a beginning counts once for each sample that shares it.
        leaves: samples that have ended leave the batch.
        tokens: of prompts read at once, see `in_parts`.
    """

    def __init__(
        self,
        core: Core,
        head: Callable[[Tensor], Tensor],
        layers: int,
        ends: Collection[int],
        on_pass: Callable[[Tensor], None] = lambda real: None,
        leaves: bool = True,
        tokens: int | None = None,
    ) -> None:
        self.core, self.head, self.layers, self.ends = core, head, layers, ends
        self.on_pass, self.leaves, self.tokens = on_pass, leaves, tokens

    @torch.inference_mode()
    def __call__(self, prompts: Prompts, limit: int, images: Images, shared: Shared | None = None) -> list[list[int]]:
        """Tokens of each answer, its end included where it was reached.

        Args:
            prompts: what is asked.
            limit: tokens of an answer.
            images: gives encoder outputs of some samples as the core takes them.
            shared: see there.
        """
        if shared is None:
            width = prompts.ids.shape[1] + min(limit, ROOM)
            states, cache = self._read(prompts, width, images, torch.ones_like(prompts.lengths))
        else:
            states, cache = self._from_shared(prompts, limit, images, shared)
        return self._go_on(states, cache, prompts, limit)

    def _read(self, prompts: Prompts, width: int, images: Images, often: Tensor) -> tuple[Tensor, RowCache]:
        """Whole prompts, each of which counts `often` `[n]`: states at last tokens, and a cache of `width` places."""
        parts = in_parts(prompts.lengths.tolist(), self.tokens)
        if len(parts) == 1:
            cache = RowCache(self.layers, width)
            self.on_pass(prompts.real * often.unsqueeze(1))
            return self._pass(prompts, cache, **images(range(len(often)))), cache
        found, caches = [], []
        for part in parts:
            rows = torch.tensor(part, device=often.device)
            own = prompts.part(rows, torch.zeros_like(rows), prompts.lengths[rows])
            caches.append(RowCache(self.layers, own.ids.shape[1]))
            self.on_pass(own.real * often[rows].unsqueeze(1))
            found.append(self._pass(own, caches[-1], **images(part)))
        order = torch.tensor([sample for part in parts for sample in part], device=often.device).argsort()
        return torch.cat(found)[order], RowCache.joined(caches, order, width)

    def _pass(self, prompts: Prompts, cache: RowCache, mask: Tensor | None = None, **images: Any) -> Tensor:
        """Last hidden states at last tokens, `[n, h]`."""
        found = self.core(
            input_ids=prompts.ids,
            attention_mask=mask,
            position_ids=prompts.positions,
            past_key_values=cache,
            use_cache=True,
            **images,
        ).last_hidden_state
        return found[torch.arange(len(found), device=found.device), prompts.lengths - 1]

    def _from_shared(self, prompts: Prompts, limit: int, images: Images, shared: Shared) -> tuple[Tensor, RowCache]:
        """The beginnings once, then the rest of each sample behind its own."""
        beginnings = prompts.part(shared.first, torch.zeros_like(shared.lengths), shared.lengths)
        often = torch.bincount(shared.group, minlength=len(shared.first))
        first_samples = shared.first.tolist()

        def of_groups(groups: Sequence[int]) -> Mapping[str, Any]:
            return images([first_samples[group] for group in groups])

        _, first = self._read(beginnings, beginnings.ids.shape[1], of_groups, often)
        starts = shared.lengths[shared.group]
        rest = prompts.part(torch.arange(len(starts), device=starts.device), starts, prompts.lengths)
        if rest.positions is None:
            rest = Prompts(rest.ids, rest.lengths, starts.unsqueeze(1) + torch.arange(rest.ids.shape[1]).to(starts))
        width = max(prompts.ids.shape[1] + min(limit, ROOM), int(starts.max()) + rest.ids.shape[1])
        cache = first.spread(shared.group, width)
        self.on_pass(rest.real.long())
        return self._pass(rest, cache, cache.go_on(starts, rest.ids.shape[1])), cache

    def _go_on(self, states: Tensor, cache: RowCache, prompts: Prompts, limit: int) -> list[list[int]]:
        """One token after the other."""
        answers: list[list[int]] = [[] for _ in prompts.lengths]
        rows, ended = list(range(len(answers))), [False] * len(answers)
        at, positions = prompts.lengths, prompts.next_positions()
        while True:
            tokens = self.head(states.unsqueeze(1)).squeeze(1).argmax(dim=-1)
            for row, token in zip(rows, tokens.tolist(), strict=True):
                if not ended[row]:
                    answers[row].append(token)
                    ended[row] = token in self.ends or len(answers[row]) == limit
            going = [place for place, row in enumerate(rows) if not ended[row]]
            if not going:
                return answers
            if self.leaves and len(going) <= LEAVES * len(rows):
                kept = torch.tensor(going, device=tokens.device)
                cache.keep(kept)
                rows, tokens, at = [rows[place] for place in going], tokens[kept], at[kept]
                positions = None if positions is None else positions[..., kept]
            mask = cache.go_on(at, 1)
            own = at if positions is None else positions
            self.on_pass(torch.tensor([[int(not ended[row])] for row in rows], device=tokens.device))
            step = Prompts(tokens.unsqueeze(1), torch.ones_like(at), own.unsqueeze(-1))
            states = self._pass(step, cache, mask)
            at = at + 1
            positions = None if positions is None else positions + 1
