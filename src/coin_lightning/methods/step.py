"""What a forward pass of a batch takes and gives, as methods see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

IGNORE = -100
"""Label of a token that is not learned (PyTorch's `ignore_index`)."""


@dataclass(frozen=True)
class Inputs:
    """What enters the model.

    Attributes:
        ids: token ids `[b, l]`; at the images' places their features come in.
        pad: an id that means nothing, for places whose embeddings are given.
        labels: `[b, l]`, or None where answers are generated.
        mask: `[b, l]`, 1 for real tokens of samples padded on the left; None: padded on the right, causal attention
            needs none.
        layout: what the model needs beside them, as positions `[.., b, l]` or types of tokens `[b, l]`.
        prefix: embeddings `[b, p, h]` in place of those of the first `p` ids, or None.
    """

    ids: Tensor
    pad: int = 0
    labels: Tensor | None = None
    mask: Tensor | None = None
    layout: Mapping[str, Tensor] = field(default_factory=dict)
    prefix: Tensor | None = None

    def prepend(self, prompts: Tensor) -> "Inputs":
        """With further embeddings `[b, p, h]` before all others; they are attended to and not learned. Nor is the token
        that was first, which nothing predicted: some prompts label it, and steps are divided by what they learn.
        """
        length = prompts.shape[1]
        labels = None
        if self.labels is not None:
            labels = _before(self.labels, length, IGNORE)
            labels[..., length] = IGNORE
        prefix = prompts if self.prefix is None else torch.cat([prompts, self.prefix], dim=1)
        return Inputs(
            ids=_before(self.ids, length, self.pad),
            pad=self.pad,
            labels=labels,
            mask=None if self.mask is None else _before(self.mask, length, 1),
            layout={name: _laid_out(name, values, length) for name, values in self.layout.items()},
            prefix=prefix,
        )


def _before(values: Tensor, length: int, value: int) -> Tensor:
    return torch.cat([values.new_full((*values.shape[:-1], length), value), values], dim=-1)


def _laid_out(name: str, values: Tensor, length: int) -> Tensor:
    """Positions begin anew and go on behind; types are those of text."""
    if name != "position_ids":
        return _before(values, length, 0)
    first = torch.arange(length, device=values.device).expand(*values.shape[:-1], length)
    return torch.cat([first, values + length], dim=-1)


@dataclass(frozen=True)
class StepOutput:
    """What a batch gives, for training, teachers and Fisher passes alike; `n` learned tokens.

    Attributes:
        losses: of each token, `[n]`, from the objective.
        logits: `[n, vocabulary]`.
        targets: `[n]`.
        sample_of_target: `[n]`, sample of the batch that a token belongs to.
    """

    losses: Tensor
    logits: Tensor
    targets: Tensor
    sample_of_target: Tensor

    @property
    def loss(self) -> Tensor:
        """Mean over the tokens; 0 when there are none."""
        return self.losses.sum() / max(len(self.targets), 1)
