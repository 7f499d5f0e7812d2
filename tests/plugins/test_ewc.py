"""Importances and penalty against slow direct versions; runs are in `contracts/test_methods.py`."""

import random
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from coin_lightning.adapters.build import moelora
from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE
from coin_lightning.methods.base import Method, evaluation_mode
from coin_lightning.module import ContinualMLLM
from coin_lightning.plugins.ewc import EWC, fisher_information
from coin_lightning.schedules import constant
from coin_lightning.tasks.base import InstructionTask
from made_tasks import made_task


class Here:
    """The part of a context that EWC uses, around a real module and real samples."""

    def __init__(self, module: ContinualMLLM, task: InstructionTask, position: int = 1) -> None:
        self.module, self.task, self.position, self.data, self.seed = module, "toy", position, task, 3

    def samples(self, task=None):
        return self.data.train_samples

    def batches(self, samples, batch_size):
        for start in range(0, len(samples), batch_size):
            yield {**self.data.encoder.train_batch(part := samples[start : start + batch_size]), "samples": len(part)}

    def forward(self, batch):
        return self.module(batch)

    def evaluating(self):
        return evaluation_mode(self.module)

    def all_reduce(self, tensor):
        return tensor


@pytest.fixture
def task(write_task, tmp_path) -> InstructionTask:
    made = made_task("toy", write_task(train=5), "Toy", tmp_path / "features", cache_features=False)
    made.connect(tiny.load(max_length=256))
    made.read()
    return made


def build(plugin: EWC) -> ContinualMLLM:
    torch.manual_seed(0)
    adapter = moelora(rank=4, alpha=8, num_experts=2, dropout=0.5)
    module = ContinualMLLM(
        tiny.load(max_length=256), adapter, Method(), torch.optim.SGD, constant, plugins={"ewc": plugin}
    )
    disturb(module)
    return module.train()


def disturb(module: ContinualMLLM) -> None:
    for weight in module.trainable().values():
        weight.data += 0.1 * torch.randn_like(weight)


def drawn(task: InstructionTask, count: int) -> list[int]:
    """Places of the samples that a seed of 3 draws."""
    return sorted(random.Random("3/toy/ewc").sample(range(len(task.train_samples)), count))


def direct(module: ContinualMLLM, task: InstructionTask, count: int) -> dict[str, torch.Tensor]:
    """Squared gradients sample by sample, through the backbone's own parts."""
    module.eval()
    totals = {name: torch.zeros_like(weight) for name, weight in module.trainable().items()}
    for sample in (task.train_samples[at] for at in drawn(task, count)):
        module.zero_grad()
        batch, backbone = task.encoder.train_batch([sample]), module.backbone
        hidden = backbone.hidden_states(
            batch["input_ids"], backbone.project(module.image_features(batch), [*chain(*batch["grids"])])
        )
        logits = backbone.model.lm_head(hidden)[0, :-1]
        F.cross_entropy(logits, batch["labels"][0, 1:], ignore_index=IGNORE, reduction="sum").backward()
        for name, weight in module.trainable().items():
            totals[name] += 0 if weight.grad is None else weight.grad**2
    return {name: total / count for name, total in totals.items()}


def test_importances_equal_a_loop_over_samples(task):
    module = build(EWC())
    assert drawn(task, 3) != [0, 1, 2]  # not the first of the file
    found = fisher_information(Here(module, task), 3)
    assert module.training  # as it was
    expected = direct(module, task, 3)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name].float(), value, rtol=1e-4, atol=1e-8), name
    assert any(value.any() for value in expected.values())


def test_the_penalty_is_the_sum_over_tasks_of_its_definition(task):
    plugin = EWC(weight=3.0, fisher_samples=2)
    module = build(plugin)
    assert plugin.loss(None, {}) is None
    terms = []
    for position in (1, 2, 3):
        disturb(module)
        plugin.after_experience(Here(module, task, position))
        point = {name: weight.detach().clone() for name, weight in module.trainable().items()}
        terms.append((direct(module, task, 2), point))
    disturb(module)
    weights = module.trainable()
    wanted = sum(
        (fisher[name].double() * (weights[name].double() - point[name].double()) ** 2).sum()
        for fisher, point in terms
        for name in weights
    )
    found = plugin.loss(None, {})
    assert found.item() == pytest.approx(1.5 * wanted.item(), rel=1e-4)
    module.zero_grad()
    found.backward()
    name = next(name for name in weights if "moelora_B" in name)
    slope = sum(3.0 * fisher[name] * (weights[name] - point[name]) for fisher, point in terms)
    assert torch.allclose(weights[name].grad, slope, rtol=1e-3, atol=1e-6)


def test_nothing_is_held_in_the_first_task_and_everything_is_restored_later(task):
    plugin = EWC(fisher_samples=2)
    module = build(plugin)
    assert set(module.method_state()) == {"plugins.ewc.constant"}
    plugin.after_experience(Here(module, task))
    state = {name: tensor.clone() for name, tensor in module.method_state().items()}
    assert len(state) == 1 + 2 * len(module.trainable())
    fresh = build(EWC())
    fresh.restore(1)
    fresh.load_method_state(state, "there")
    assert all(torch.equal(tensor, state[name]) for name, tensor in fresh.method_state().items())


def test_without_a_weight_nothing_is_added(task):
    plugin = EWC(weight=0.0, fisher_samples=1)
    module = build(plugin)
    plugin.after_experience(Here(module, task))
    assert plugin.loss(SimpleNamespace(), {}) is None
