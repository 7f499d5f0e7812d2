"""The usual token loss."""

import torch.nn.functional as F
from torch import Tensor


class CrossEntropy:
    """Cross-entropy of the next token.

    An objective is called with `logits [n, vocabulary]` and `targets [n]` of the learned tokens and gives the loss of
    each of them, `[n]` in float32; how they are weighed within an optimizer step is the protocol's affair.
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Losses `[n]`."""
        return F.cross_entropy(logits.float(), targets, reduction="none")
