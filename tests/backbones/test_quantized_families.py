"""4- and 8-bit bases of every family: what is quantised, and that every expert learns on it."""

from pathlib import Path

import pytest
import torch
from small_families import SMALL, write
from torch import Tensor, nn

from coin_lightning.adapters.build import moelora
from coin_lightning.adapters.moelora import moelora_layers
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn

bnb = pytest.importorskip("bitsandbytes")

KINDS = {"int8": bnb.nn.Linear8bitLt, "nf4": bnb.nn.Linear4bit}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> checkpoint folder."""
    root = tmp_path_factory.mktemp("hub")
    return {name: write(name, root / name) for name in SMALL}


def loaded(folders: dict[str, Path], name: str, kind: str) -> Backbone:
    return load_backbone(
        folders[name], "chatml", SMALL[name].family, dtype="float32", quantization=kind, gradient_checkpointing="all"
    )


def logits(backbone: Backbone) -> Tensor:
    """Of one sample without an image."""
    ids, _ = backbone.tokens(backbone.prompt.render([Turn("Why is it?", "Because", 0)]), [])
    batch = torch.tensor([ids])
    hidden = backbone.hidden_states(batch, None, backbone.layout(batch, None, []))
    found: Tensor = backbone.model.lm_head(hidden)[0]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_only_the_language_model_is_quantised_and_every_expert_learns(folders, name: str, kind: str):
    backbone = loaded(folders, name, kind)
    small = {path for path, module in backbone.named_modules() if isinstance(module, KINDS[kind])}
    linear = {path for path, module in backbone.named_modules() if isinstance(module, nn.Linear)} - small
    assert small
    assert all(f".{backbone.family.language_model}." in path for path in small)
    assert not any(f".{backbone.family.language_model}." in path for path in linear)
    kept = {weight.dtype for weight in backbone.parameters() if weight.is_floating_point()}
    assert kept <= {torch.float32, *({torch.float16} if kind == "int8" else {})}
    config = moelora(rank=8, alpha=16, num_experts=4, dropout=0.0)
    put_adapter(backbone.model, backbone.language_model, config)
    layers = moelora_layers(backbone.model)
    assert len(layers) >= 3 * 5
    for weight in (weight for name_, weight in backbone.named_parameters() if "moelora_B" in name_):
        nn.init.normal_(weight, std=0.1)
    backbone.train()
    logits(backbone).logsumexp(-1).sum().backward()
    for layer in layers.values():
        for weight in layer.parameters():
            if weight.requires_grad:
                assert weight.grad is not None
                assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_whole_keeps_the_type_of_the_backbone(folders, kind: str):
    """The run's precision follows from it, and cached features are those of the unquantised model."""
    family = SMALL["llava"].family
    few, plain = (
        load_backbone(folders["llava"], "chatml", family, dtype="bfloat16", quantization=each) for each in (kind, None)
    )
    assert few.tower_key() == plain.tower_key()
    assert few.model.lm_head.weight.dtype is torch.bfloat16
    assert few.model.dtype is torch.bfloat16
