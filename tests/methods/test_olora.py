"""Slots, formula and penalty, in a real run and against slow direct versions."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.adapters.moelora import MoELoraLinear
from coin_lightning.backbones import tiny
from coin_lightning.errors import ConfigError
from coin_lightning.methods.olora import OLoRA
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant

TASKS = ("a", "b", "c")


def build(method: OLoRA, tasks=TASKS) -> ContinualMLLM:
    torch.manual_seed(0)
    adapter = lora(rank=4, alpha=12, dropout=0.0)
    return ContinualMLLM(tiny.load(max_length=256), adapter, method, torch.optim.SGD, constant, tasks=tasks)


def disturb(module: ContinualMLLM) -> dict[str, MoELoraLinear]:
    layers = {name: part for name, part in module.named_modules() if isinstance(part, MoELoraLinear)}
    for layer in layers.values():
        for tensors in (layer.moelora_A, layer.moelora_B):
            tensors["default"].data.normal_()
    return layers


@pytest.mark.parametrize(("position", "active"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_the_pairs_of_the_tasks_so_far_add_up(position, active):
    module = build(OLoRA())
    layer = next(iter(disturb(module).values()))
    module.restore(position)
    x = torch.randn(5, layer.in_features)
    a, b = layer.moelora_A["default"], layer.moelora_B["default"]
    wanted = layer.base_layer(x) + sum(12 / 4 * x @ a[slot].t() @ b[slot].t() for slot in range(active))
    assert torch.allclose(layer(x), wanted, atol=1e-4)


@pytest.mark.parametrize("penalty", ["absolute", "squared"])
def test_the_penalty_is_its_definition_and_moves_the_new_pair_only(penalty):
    method = OLoRA(orthogonal=0.5, norm=0.25, penalty=penalty)
    module = build(method)
    layers = disturb(module).values()
    module.restore(3)
    found = method.loss(None, {})
    wanted = 0.0
    for layer in layers:
        a, b = layer.moelora_A["default"].detach(), layer.moelora_B["default"].detach()
        for earlier in (0, 1):
            for new in a[2]:
                for old in a[earlier]:
                    entry = (new * old).sum().item()
                    wanted += 0.5 * (abs(entry) if penalty == "absolute" else entry**2)
        wanted += 0.25 * (a[2].square().sum().sqrt() + b[2].square().sum().sqrt()).item()
    assert found.item() == pytest.approx(wanted, rel=1e-4)
    found.backward()
    for layer in layers:
        gradient = layer.moelora_A["default"].grad
        assert gradient[2].any()
        assert not gradient[:2].any()


def test_the_first_task_has_nothing_to_be_orthogonal_to():
    method = OLoRA()
    build(method).restore(1)
    assert method.loss(None, {}) is None


def test_joint_training_is_one_pair():
    method = OLoRA()
    module = build(method, tasks=("joint",))
    module.restore(8)
    assert next(iter(disturb(module).values())).num_experts == 1
    assert method.loss(None, {}) is None


def test_another_adapter_is_refused():
    with pytest.raises(ConfigError, match="keeps a LoRA pair per task, not MOELORA; use adapter=lora"):
        OLoRA().adapter(moelora(rank=4, num_experts=2), TASKS)


def test_a_run_changes_the_new_slot_only_and_counts_only_that(place):
    run = place.folder / "olora_slots"
    status, text = place.runs.run(place.command(run.name, "method=olora", "scenario.limit_test=1"))
    assert status == 0, text
    names = ("task_01_scienceqa", "task_02_textvqa", "task_03_imagenet")
    saved = [load_file(run / name / "adapter" / "adapter_model.safetensors") for name in names]
    slots = [key for key in saved[0] if "moelora" in key]
    assert slots
    for key in slots:
        for before, after, slot in ((saved[0], saved[1], 1), (saved[1], saved[2], 2)):
            changed = [index for index in range(3) if not torch.equal(before[key][index], after[key][index])]
            assert changed == [slot], key
    trained = json.loads((run / "task_02_textvqa" / "train.json").read_text())
    plan = json.loads((run / "plan.json").read_text())
    bank = sum(saved[0][key].numel() for key in slots)
    projector = sum(value.numel() for key, value in saved[0].items() if "moelora" not in key)
    assert trained["trainable_parameters"] == sum(plan["trainable"].values()) == bank // 3 + projector
    flags = json.loads(Path(run / "task_02_textvqa" / "adapter" / "adapter_config.json").read_text())
    assert (flags["active_slots"], flags["trainable_slots"]) == ([0, 1], [1])


def test_weight_decay_is_refused_before_anything_is_learned(place):
    name = "olora_decay"
    status, text = place.runs.run(place.short(name, "method=olora", "optimizer.weight_decay=0.1"))
    assert status == 1
    assert not list((place.folder / name).glob("task_*"))
    assert "optimizer.weight_decay=0.1 shrinks the pairs of earlier tasks; set it to 0" in " ".join(text.split())
