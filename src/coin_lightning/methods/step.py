"""What a forward pass of a batch takes and gives, as methods see it."""

from dataclasses import dataclass

import torch
from torch import Tensor

IGNORE = -100
"""Label of a token that is not learned (PyTorch's `ignore_index`)."""


@dataclass(frozen=True)
class Inputs:
    """What enters the language model.

    Attributes:
        embeds: input embeddings `[b, l, h]`, images put in.
        labels: `[b, l]`, or None where answers are generated.
        mask: `[b, l]`, 1 for real tokens of samples padded on the left; None: padded on the right, causal attention
            needs none.
    """

    embeds: Tensor
    labels: Tensor | None = None
    mask: Tensor | None = None

    def prepend(self, prompts: Tensor) -> "Inputs":
        """With further embeddings `[b, p, h]` before all others; they are attended to and not learned."""
        samples, length = prompts.shape[:2]
        embeds = torch.cat([prompts.to(self.embeds.dtype), self.embeds], dim=1)
        labels = None if self.labels is None else _before(self.labels, samples, length, IGNORE)
        mask = None if self.mask is None else _before(self.mask, samples, length, 1)
        return Inputs(embeds, labels, mask)


def _before(values: Tensor, samples: int, length: int, value: int) -> Tensor:
    return torch.cat([values.new_full((samples, length), value), values], dim=1)


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
