import math

import pytest
import torch

from coin_lightning.objectives.cross_entropy import CrossEntropy


def test_a_loss_per_token_worked_by_hand():
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]], dtype=torch.bfloat16)
    losses = CrossEntropy()(logits, torch.tensor([1, 1]))
    assert losses.dtype == torch.float32
    assert losses[0].item() == pytest.approx(math.log(2))
    assert losses[1].item() == pytest.approx(math.log(4), abs=5e-3)  # 1 / (3 + 1)
