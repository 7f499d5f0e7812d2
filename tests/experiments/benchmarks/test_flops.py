"""The arithmetic of a step, against hand-worked numbers and against PyTorch's own counter of executed products."""

import pytest
from torch.utils.flop_counter import FlopCounterMode

from coin_lightning.adapters.build import moelora
from coin_lightning.adapters.routing import slot_layers


def test_parts_worked_by_hand(script):
    flops, tiny = script("flops"), __import__("coin_lightning.backbones.tiny", fromlist=["tiny"])
    config = tiny.config(261)  # width 32, wide 64, 4 heads of 8, 2 key-value heads, 2 layers, tower 16 wide
    work = flops.step_flops(config, flops.Step(samples=2, length=10, image_tokens=4, learned=3), rank=8, experts=4)
    linears = 32 * 32 * 2 + 32 * 16 * 2 + 32 * 64 * 3
    assert work["frozen_linears"] == 4 * 20 * 2 * linears
    ranks = 8 * (2 * 64 + 2 * 48 + 3 * 96)
    routers = 4 * (6 * 32 + 64)
    assert work["adapters"] == 6 * 20 * 2 * (ranks + routers)
    assert work["attention"] == 6 * 2 * 100 * 32 * 2
    assert work["head"] == 4 * 6 * 32 * 261
    assert work["projector"] == 8 * (4 * 16 * 32 + 6 * 32 * 32)


def test_linear_parts_equal_what_is_executed(script):
    flops, shapes = script("flops"), script("gpu_shapes")
    adapter = moelora(rank=8, alpha=16, num_experts=4, dropout=0.0)  # behind dropout the counter misses products
    module = shapes.build(adapter, "cpu", True, 0)
    for layer in slot_layers(module).values():
        layer.parent_pass = None  # a group has small products beside those of its layers
    module.backbone.core.language_model.set_attn_implementation("eager")  # whose products the counter sees
    step = flops.Step(samples=2, length=12, image_tokens=4, learned=3)
    batch = shapes.train_batch(module, step)
    loss_of, recipe = script("bare_loop").loss_of, script("bare_loop").Recipe()
    loss_of(module, batch, recipe)  # the first pass is watched
    with FlopCounterMode(display=False) as counter:
        loss = loss_of(module, batch, recipe)
        loss.backward()
    work = flops.step_flops(module.backbone.model.config, step, rank=8, experts=4)
    executed = counter.get_total_flops() - work["attention"]  # eager attention computes the masked half too
    angles = executed - sum(work.values())  # rotary embedding: a product of positions and frequencies
    assert 0 <= angles < 0.001 * executed


def test_peak_is_looked_up_by_name_and_can_be_given(script):
    peak = script("flops").peak_flops
    assert peak("NVIDIA H100 PCIe") == 756e12
    assert peak("NVIDIA H200") == 989e12
    assert peak("Unknown") is None
    assert peak("Unknown", 2.0) == pytest.approx(2e12)
