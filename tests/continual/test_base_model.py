"""Telling one base model from another by a few of its numbers."""

import torch

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.backbones import tiny
from coin_lightning.continual.base_model import fingerprint
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant


def made(adapter=None, **options) -> ContinualMLLM:
    projector = options.pop("projector", "carried")
    backbone = tiny.load(max_length=256, **options)
    return ContinualMLLM(backbone, adapter or moelora(rank=8), Method(), torch.optim.SGD, constant, projector=projector)


def test_it_is_that_of_the_weights_whatever_learns_on_them():
    own = fingerprint(made())
    assert own is not None
    assert len(own) == 16
    assert own == fingerprint(made(lora(rank=2)))
    module = made()
    for weight in module.trainable().values():
        weight.data.add_(1.0)
    assert fingerprint(module) == own
    assert fingerprint(made(init_seed=1)) != own
    assert fingerprint(made(dtype="bfloat16")) != own


def test_one_changed_matrix_is_enough_and_weights_that_are_elsewhere_have_none():
    module = made()
    own = fingerprint(module)
    frozen = (pair for pair in module.backbone.named_parameters() if not pair[1].requires_grad and pair[1].dim() == 2)
    name, weight = next(frozen)
    weight.data.mul_(1.001)
    assert fingerprint(module) != own
    place, _, last = name.rpartition(".")
    elsewhere = torch.nn.Parameter(weight.to("meta"), requires_grad=False)
    setattr(module.backbone.get_submodule(place), last, elsewhere)
    assert fingerprint(module) is None
