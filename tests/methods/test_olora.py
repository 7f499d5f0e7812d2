"""Formula and penalty against slow direct versions; what a run changes is in `test_task_slots.py`."""

import pytest
import torch

from coin_lightning.adapters.build import lora
from coin_lightning.adapters.moelora import MoELoraLinear
from coin_lightning.backbones import tiny
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
    module.restore(position)
    layer = next(iter(disturb(module).values()))
    assert layer.num_slots == active
    x = torch.randn(5, layer.in_features)
    pairs = [layer.slot("default", slot) for slot in range(active)]
    wanted = layer.base_layer(x) + sum(12 / 4 * x @ a.t() @ b for a, b in pairs)
    assert torch.allclose(layer(x), wanted, atol=1e-4)


@pytest.mark.parametrize("penalty", ["absolute", "squared"])
def test_the_penalty_is_its_definition_and_moves_the_new_pair_only(penalty):
    method = OLoRA(orthogonal=0.5, norm=0.25, penalty=penalty)
    module = build(method)
    module.restore(3)
    layers = disturb(module).values()
    found = method.loss(None, {})
    wanted = 0.0
    for layer in layers:
        pairs = [layer.slot("default", slot) for slot in range(3)]
        a, b = ([part.detach() for part in parts] for parts in zip(*pairs, strict=True))
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
        assert gradient[8:].any()
        assert not gradient[:8].any()


def test_the_first_task_has_nothing_to_be_orthogonal_to():
    method = OLoRA()
    build(method).restore(1)
    assert method.loss(None, {}) is None


def test_joint_training_is_one_pair():
    method = OLoRA()
    module = build(method, tasks=("joint",))
    module.restore(8)
    assert next(iter(disturb(module).values())).num_slots == 1
    assert method.loss(None, {}) is None


def test_the_bank_shrinks_when_an_earlier_task_is_gone_back_to():
    module = build(OLoRA())
    module.restore(3)
    layer = next(iter(disturb(module).values()))
    first = layer.slot("default", 0)[0].clone()
    module.restore(1)
    assert layer.num_slots == 1
    assert torch.equal(layer.moelora_A["default"], first)


def test_weight_decay_is_refused_before_anything_is_learned(place):
    name = "olora_decay"
    status, text = place.runs.run(place.short(name, "method=olora", "optimizer.weight_decay=0.1"))
    assert status == 1
    assert not list((place.folder / name).glob("task_*"))
    assert "optimizer.weight_decay=0.1 shrinks the pairs of earlier tasks; set it to 0" in " ".join(text.split())
