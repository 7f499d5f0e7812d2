import math

import pytest
import torch
from torch.optim import SGD

from coin_lightning.schedules import constant, cosine, log_warmup_constant, sampled_rates, warmup_steps


def rates(schedule, steps: int, lr: float = 1.0, **options) -> list[float]:
    """The learning rate that each of `steps` optimizer steps uses."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = schedule(optimizer, total_steps=steps, **options)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [*used, optimizer.param_groups[0]["lr"]]


def test_cosine_by_hand():
    # 10 steps, 2 of them warm-up: 1/3, 2/3, then (1 + cos(pi k / 8)) / 2 for k = 0..8
    used = rates(cosine, 10, warmup_ratio=0.2)
    assert used[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert used[4] == pytest.approx((1 + math.sqrt(0.5)) / 2)  # k = 2: cos 45 degrees
    assert used[6] == pytest.approx(0.5)  # k = 4
    assert used[8] == pytest.approx((1 - math.sqrt(0.5)) / 2)  # k = 6
    assert used[10] == pytest.approx(0.0, abs=1e-12)


def test_cosine_rounds_the_warm_up_up_and_keeps_the_floor():
    # 3 % of 34 steps is 1.02: two steps
    used = rates(cosine, 34, lr=2e-4, warmup_ratio=0.03, floor=0.1)
    assert used[:3] == pytest.approx([2e-4 / 3, 4e-4 / 3, 2e-4])
    assert used[18] == pytest.approx(2e-4 * 0.55)  # half way: floor + 0.9 / 2
    assert used[-1] == pytest.approx(2e-5)
    assert min(used[3:]) == used[-1]


def test_cosine_without_warm_up_and_past_the_end():
    assert rates(cosine, 4, warmup_ratio=0.0) == pytest.approx(
        [1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0]
    )
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    factor = cosine(optimizer, total_steps=4, warmup_ratio=0.0).lr_lambdas[0]
    assert factor(9) == 0.0


@pytest.mark.parametrize(
    ("steps", "ratio", "first"),
    [
        (100, 0.03, [0.0, 0.0, 0.63093, 1.0, 1.0]),  # 3 steps: log 1, log 2, log 3 over log 3, one step late
        (101, 0.1, [0.0, 0.0, 0.28906, 0.45816, 0.57813, 0.67119]),  # 11 steps: log 2 / log 11 and so on
        (20, 0.03, [0.0, 0.0, 1.0, 1.0]),  # 1 step, of which DeepSpeed makes 2
        (5, 0.0, [0.0, 0.0, 1.0, 1.0]),
    ],
)
def test_log_warm_up_is_that_of_deepspeeds_warmup_lr(steps, ratio, first):
    used = rates(log_warmup_constant, steps, warmup_ratio=ratio)
    assert used[: len(first)] == pytest.approx(first, abs=1e-5)
    assert used[11:] == [1.0] * len(used[11:])


def test_log_warm_up_by_hand():
    # 4 of 8 steps: nothing, then log 1, log 2, log 3, log 4 over log 4; the fifth has the full rate
    used = rates(log_warmup_constant, 8, lr=0.1, warmup_ratio=0.5)
    assert used == pytest.approx([0.0, 0.0, 0.05, 0.1 * math.log(3) / math.log(4), *[0.1] * 5])


def test_constant_is_constant():
    assert rates(constant, 6, lr=0.3) == [0.3] * 7


def test_every_parameter_group_keeps_its_own_base_rate():
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = SGD(groups)
    scheduler = cosine(optimizer, total_steps=4, warmup_ratio=0.0)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.5, 0.05])


@pytest.mark.parametrize("schedule", [cosine, log_warmup_constant, constant])
def test_sampled_rates_are_those_of_a_real_optimizer(schedule):
    sampled = sampled_rates(schedule, {"adapter": 0.2, "projector": 0.02}, 9)
    assert sampled["adapter"] == pytest.approx(rates(schedule, 9, lr=0.2)[:9])
    assert sampled["projector"] == pytest.approx([rate / 10 for rate in sampled["adapter"]])


def test_sampling_draws_no_random_number():
    state = torch.get_rng_state()
    sampled_rates(cosine, {"adapter": 0.2}, 50)
    assert torch.equal(torch.get_rng_state(), state)


def test_warm_up_steps_are_rounded_up():
    assert [warmup_steps(steps, 0.03) for steps in (0, 1, 33, 34, 100)] == [0, 1, 1, 2, 3]
