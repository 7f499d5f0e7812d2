"""Weights, gradients and optimizer state without contents take what those of a real step take."""

from functools import partial
from itertools import chain
from typing import Any

import pytest
import torch
from torch import nn

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.backbones import tiny
from coin_lightning.continual.footprint import (
    gradient_bytes,
    optimizer_bytes,
    quantised,
    state_bytes,
    weight_bytes,
)
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM

OPTIMIZERS = {
    "AdamW": partial(torch.optim.AdamW, lr=1e-3),
    "AMSGrad": partial(torch.optim.AdamW, lr=1e-3, amsgrad=True),
    "SGD": partial(torch.optim.SGD, lr=1e-3),
    "momentum": partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
    "Adafactor": partial(torch.optim.Adafactor, lr=1e-3),
}


def module_of(adapter: Any, optimizer: Any, dtype: torch.dtype = torch.float32) -> ContinualMLLM:
    backbone = tiny.load()
    backbone.model.to(dtype)
    return ContinualMLLM(backbone, adapter, Method("plain"), optimizer, lambda *_, **__: None)


def nbytes(tensors: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("adapter", [lora, moelora])
def test_after_one_real_step(adapter: Any, optimizer: str) -> None:
    real, empty = (module_of(adapter(8, 16), OPTIMIZERS[optimizer], torch.bfloat16) for _ in range(2))
    empty.to("meta")
    step = real.optimizer(real.optimizer_groups())
    for weight in real.trainable().values():
        weight.sum().backward()
    step.step()
    assert gradient_bytes(empty) == nbytes(weight.grad for weight in real.parameters() if weight.grad is not None) > 0
    assert optimizer_bytes(empty) == state_bytes(step.state)
    assert (state_bytes(step.state) == 0) is (optimizer == "SGD")
    found = weight_bytes(empty, set(), None)
    assert sum(found.values()) == nbytes(chain(real.parameters(), real.buffers()))
    assert found["float32"] == nbytes(real.trainable().values())
    assert all(weight.grad is None for weight in empty.parameters())


def test_of_a_quantised_base_only_the_language_models_layers_are_small() -> None:
    module = module_of(lora(8, 16), OPTIMIZERS["AdamW"])
    frozen = [layer for layer in module.backbone.language_model.modules() if isinstance(layer, nn.Linear)]
    numbers = sum(layer.weight.numel() for layer in frozen if not layer.weight.requires_grad)
    before = weight_bytes(module, set(), None)
    after = weight_bytes(module, quantised(module.backbone, "int8"), "int8")
    assert after["int8"] == numbers
    assert before["float32"] - after["float32"] == 4 * numbers
    few = weight_bytes(module, quantised(module.backbone, "nf4"), "nf4")["nf4"]
    assert few == pytest.approx(0.516 * numbers, rel=1e-2)
