"""The plan of a run by hand, and an optimizer or schedule that deviates from the config."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.backbones import tiny
from coin_lightning.continual.plan import (
    check_optimizer,
    check_peaks,
    check_step,
    make_plan,
    optimizer_steps,
    planned_rates,
    samples,
)
from coin_lightning.errors import RunError
from coin_lightning.methods.base import Method
from coin_lightning.module import PROJECTOR, ContinualMLLM
from coin_lightning.schedules import constant, cosine, log_warmup_constant

TARGETS = r".*language_model.*\.(q_proj|down_proj)"


def train_task(name: str = "gqa", samples: int = 100, batch: int = 4, epochs: int = 1) -> SimpleNamespace:
    task = SimpleNamespace(
        name=name, title=name, short=name, train_samples=range(samples), batch_size=batch, epochs=epochs
    )
    task.steps_per_epoch = lambda devices: -(-samples // (batch * devices))
    return task


def build(schedule=None, lr: float = 0.1, adapter=None, **options) -> ContinualMLLM:
    schedule = schedule or partial(cosine, warmup_ratio=0.2)
    adapter = adapter or lora(rank=2, alpha=4, targets=TARGETS)
    return ContinualMLLM(tiny.load(), adapter, Method(), partial(SGD, lr=lr), schedule, **options)


def test_steps_count_what_is_left_of_an_accumulation():
    assert optimizer_steps(train_task(samples=100, batch=4), 1, 1) == 25
    assert optimizer_steps(train_task(samples=100, batch=4), 8, 1) == 4  # 25 batches: 8, 8, 8, 1
    assert optimizer_steps(train_task(samples=100, batch=4, epochs=3), 8, 2) == 6  # 13 batches per rank: 8, 5


def test_plan_has_steps_groups_and_sampled_rates():
    module = build(projector_lr=0.02)
    plan = make_plan(
        module, {1: train_task(samples=100), 3: train_task("vizwiz", samples=8)}, lambda task: 2, devices=1
    )
    assert (plan["schedule"], plan["warmup_ratio"]) == ("cosine", 0.2)
    first = plan["tasks"][0]
    assert (first["experience"], first["samples"], first["global_batch"], first["steps"]) == (1, 100, 8, 13)
    assert first["warmup_steps"] == 3  # 20 % of 13, rounded up
    curve = first["rates"]["adapter"]
    assert curve["first"] == pytest.approx(0.1 / 4)
    assert curve["warm"] == pytest.approx(0.1)
    assert curve["middle"] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 3 / 10)))  # step 7 of 13
    assert curve["last"] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 9 / 10)))
    assert first["rates"]["projector"]["warm"] == pytest.approx(0.02)
    assert [task["experience"] for task in plan["tasks"]] == [1, 3]


def test_plan_counts_what_is_trainable():
    module = build(adapter=moelora(rank=4, alpha=8, num_experts=2, targets=TARGETS))
    plan = make_plan(module, {}, lambda task: 1, devices=1)
    layers = [layer for layer in module.peft.modules() if hasattr(layer, "moelora_A")]
    assert plan["adapted_layers"] == len(layers) == 4
    assert set(plan["trainable"]) == {"adapter", "router", "projector"}
    assert sum(plan["trainable"].values()) == sum(weight.numel() for weight in module.trainable().values())
    assert plan["trainable"]["router"] == sum(2 * layer.in_features for layer in layers)
    groups = {group["name"]: group["parameters"] for group in plan["groups"]}
    assert groups["projector"] == plan["trainable"]["projector"]
    assert groups["adapter"] == plan["trainable"]["adapter"] + plan["trainable"]["router"]
    assert plan["tasks"] == []


def test_a_frozen_projector_is_in_no_group():
    plan = make_plan(build(projector="frozen"), {}, lambda task: 1, devices=1)
    assert [group["name"] for group in plan["groups"]] == ["adapter"]
    assert "projector" not in plan["trainable"]


def test_a_logarithmic_warm_up_is_told_as_it_is():
    """It has two steps at least, of which both have the rate 0."""
    module = build(partial(log_warmup_constant, warmup_ratio=0.03))
    (task,) = make_plan(module, {1: train_task(samples=80)}, lambda task: 1, devices=1)["tasks"]
    assert (task["steps"], task["warmup_steps"]) == (20, 2)
    assert task["rates"]["adapter"] == {"first": 0.0, "warm": 0.1, "middle": 0.1, "last": 0.1}


def test_samples_of_a_schedule_without_warm_up():
    assert samples([3.0, 2.0, 1.0, 0.5]) == {"first": 3.0, "warm": 3.0, "middle": 1.0, "last": 0.5}
    assert samples([1.0]) == {"first": 1.0, "warm": 1.0, "middle": 1.0, "last": 1.0}


@pytest.mark.parametrize("schedule", [cosine, log_warmup_constant, constant, partial(cosine, warmup_ratio=0.5)])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 40, 101])
def test_the_own_schedules_reach_their_rate_within_the_warm_up(schedule, steps):
    make_plan(build(schedule), {1: train_task(samples=steps, batch=1)}, lambda task: 1, devices=1)


def halved(optimizer, total_steps):
    """A schedule that never gets to the configured rate."""
    return LambdaLR(optimizer, lambda step: 0.5)


def late(optimizer, total_steps, warmup_ratio=0.1):
    """A schedule that warms up five times as long as it says."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (0.5 * total_steps)))


def test_a_schedule_that_misses_the_configured_rate_is_refused_before_training():
    with pytest.raises(RunError, match=r"gqa: the schedule's highest rate for the adapter is 0\.05 and not .* 0\.1"):
        make_plan(build(halved), {1: train_task()}, lambda task: 1, devices=1)


def test_a_warm_up_that_is_longer_than_configured_is_refused():
    with pytest.raises(RunError, match=r"reaches its rate 0\.1 for the adapter at step 13, but its warm-up has 3"):
        make_plan(build(partial(late, warmup_ratio=0.1)), {1: train_task()}, lambda task: 1, devices=1)


def test_a_task_shorter_than_its_warm_up_is_let_through():
    check_peaks("gqa", {"adapter": [0.2, 0.4]}, {"adapter": 1.0}, 3)


def prepared(module: ContinualMLLM):
    module.total_steps = 10
    made = module.configure_optimizers()
    return made["optimizer"], made["lr_scheduler"]["scheduler"]


def test_the_real_optimizer_fits_its_plan_at_every_step():
    module = build(projector_lr=0.02)
    optimizer, scheduler = prepared(module)
    rates = planned_rates(module, 10)
    check_optimizer(module, [optimizer])
    for step in range(10):
        check_step("gqa", step, optimizer, rates)
        optimizer.step()
        scheduler.step()


def test_a_projector_that_learns_at_the_adapters_rate_is_found():
    module = build(projector_lr=0.02)
    optimizer, _ = prepared(module)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = 0.1
    with pytest.raises(RunError, match=r"base rate of the projector is 0\.1 and not 0\.02 as configured"):
        check_optimizer(module, [optimizer])


def test_a_replaced_schedule_is_found_at_its_first_wrong_step():
    module = build()
    optimizer, _ = prepared(module)
    other = log_warmup_constant(optimizer, total_steps=10)
    rates = planned_rates(module, 10)
    check = partial(check_step, "gqa", optimizer=optimizer, rates=rates)
    optimizer.step()
    other.step()
    with pytest.raises(RunError, match=r"gqa, optimizer step 2: rate of the adapter is .* as configured"):
        check(1)


def test_groups_that_were_removed_are_found():
    module = build()
    single = SGD([{"name": "adapter", "params": list(module.trainable().values())}], lr=0.1)
    with pytest.raises(RunError, match="the optimizer has groups adapter, planned are adapter, projector"):
        check_optimizer(module, [single])


def test_weights_that_the_optimizer_lacks_are_counted():
    module = build()
    groups = [group for group in module.optimizer_groups() if group["name"] == "adapter"]
    with pytest.raises(RunError, match=rf"it lacks 4, e\.g\. .*{PROJECTOR}"):
        check_optimizer(module, [SGD(groups)])
    with pytest.raises(RunError, match="2 optimizers are at work"):
        check_optimizer(module, [SGD(groups), SGD([torch.zeros(1, requires_grad=True)])])
