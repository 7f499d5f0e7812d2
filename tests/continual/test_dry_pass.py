"""What a pass without contents counts is what autograd keeps of a real one."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlavaForConditionalGeneration

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))

from small_families import small

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.adapters.routing import slot_weights
from coin_lightning.backbones import tiny
from coin_lightning.backbones.attention import use_cpu_training_attention
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.recomputation import recompute
from coin_lightning.continual.dry_pass import FUSED, ON_CPU, DryPass
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM

ROWS, LENGTH, ANSWERS = 3, 96, 5
"""Samples, their tokens, and how many of those are learned."""
NEAR = 1.02
"""Factor within which an estimate must lie."""


def wide() -> Backbone:
    """As `tiny`, but with three layers of 96 values: activations outweigh what else is kept."""
    small = tiny.load()
    shape = tiny.config(len(small.tokenizer), width=96, layers=3)
    with torch.random.fork_rng():
        model = LlavaForConditionalGeneration(shape).eval()
    return Backbone(model, small.tokenizer, small.family, small.prompt, "wide", max_length=1024)


MODELS = {"tiny": tiny.load, "wide": wide}
ADAPTERS = {"moelora": partial(moelora, 16, 32, 4, 0.1), "lora": partial(lora, 16, 32, 0.1)}


def module_of(backbone: Backbone, adapter: str, dtype: torch.dtype = torch.float32) -> ContinualMLLM:
    backbone.model.to(dtype)
    use_cpu_training_attention(backbone.language_model)
    optimizer: Any = partial(torch.optim.AdamW, lr=1e-3)
    return ContinualMLLM(backbone, ADAPTERS[adapter](), Method("plain"), optimizer, lambda *_, **__: None)


def batch_for(backbone: Backbone, images: bool = True) -> dict[str, Any]:
    """Random samples with an image each, or with none."""
    ids = torch.randint(10, 200, (ROWS, LENGTH))
    if images:
        ids[:, 3:7] = backbone.image_token_id
    labels = torch.full_like(ids, IGNORE)
    labels[:, -ANSWERS:] = ids[:, -ANSWERS:]
    features = torch.randn(ROWS * 4, backbone.family.width, dtype=torch.bfloat16) if images else None
    grids = [[()] if images else []] * ROWS
    layout = backbone.layout(ids, None, [])
    return {"input_ids": ids, "labels": labels, "features": features, "grids": grids, "layout": layout}


def really_kept(module: ContinualMLLM, images: bool = True) -> int:
    """Bytes of all storages that autograd saves in a forward pass with its loss, but of weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    found: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        found.setdefault(tensor.untyped_storage().data_ptr(), tensor)  # alive, so that no address comes twice
        return tensor

    module.train()
    mixed = module.backbone.model.dtype == torch.bfloat16
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", enabled=mixed):
        module(batch_for(module.backbone, images)).losses.sum()
    return sum(each.untyped_storage().nbytes() for address, each in found.items() if address not in weights)


@pytest.mark.parametrize(
    ("model", "adapter", "dtype"),
    [
        ("tiny", "moelora", torch.bfloat16),
        ("wide", "moelora", torch.float32),
    ],
)
def test_what_autograd_keeps_of_a_real_forward_pass(model: str, adapter: str, dtype: torch.dtype) -> None:
    real, empty = (module_of(MODELS[model](), adapter, dtype) for _ in range(2))
    mixed = torch.bfloat16 if dtype == torch.bfloat16 else None
    kept = DryPass(empty.to("meta"), mixed, ON_CPU).training_step(ROWS, LENGTH, ROWS * ANSWERS, ())
    for choice in ("none", "every_2", "all"):
        recompute(real.backbone.language_model, choice)
        found = really_kept(real)
        assert found / NEAR <= kept.saved(choice) <= found * NEAR, choice


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "internvl", "idefics3", "gemma3"])
def test_unlike_families(name: str) -> None:
    real, empty = (module_of(small(name), "moelora") for _ in range(2))
    grid = empty.backbone.family.grid((60, 40))
    dry = DryPass(empty.to("meta"), None, ON_CPU)
    kept, values = dry.training_step(ROWS, LENGTH, ROWS * ANSWERS, grid), dry.answering(ROWS, LENGTH)
    recompute(real.backbone.language_model, "every_2")
    found = really_kept(real, images=False)
    assert found / NEAR <= kept.saved("every_2") - kept.projector <= found * NEAR
    batch = torch.randint(10, 200, (ROWS, LENGTH))
    states = real.eval().backbone.language_model(input_ids=batch, use_cache=True).past_key_values
    held = [each.untyped_storage().nbytes() for layer in states.layers for each in (layer.keys, layer.values)]
    assert values - 64 <= sum(held) <= values


def test_recomputing_trades_layers_for_their_inputs() -> None:
    kept = DryPass(module_of(tiny.load(), "lora").to("meta"), None, FUSED).training_step(2, 64, 4, ())
    assert kept.peak("none") == kept.saved("none") == kept.layers + kept.head + kept.projector
    assert kept.saved("none") > kept.saved("every_2") > kept.saved("all")
    assert kept.peak("all") == kept.saved("all") + kept.layer


def test_slots_that_wait_for_weights_of_a_method_get_some_and_no_empty_flags_stay_behind() -> None:
    given = partial(moelora, 8, 16, 2, 0.0, mixing="given", ranks=[2, 6])
    module = ContinualMLLM(tiny.load(), given(), Method("plain"), torch.optim.AdamW, lambda *_, **__: None)
    assert DryPass(module.to("meta"), None).training_step(2, 64, 4, ()).layers > 0
    real = ContinualMLLM(tiny.load(), given(), Method("plain"), torch.optim.AdamW, lambda *_, **__: None)
    with slot_weights(real.peft, torch.tensor([0.5, 0.5])):
        assert real(batch_for(real.backbone)).losses.isfinite().all()
