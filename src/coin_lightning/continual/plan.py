"""What a run is going to do, worked out before it does it (`plan.json`), and the checks that it really does it.

Published code of this field computed with other rates than its scripts say (`coin_reference.md` section 1.6: a
DeepSpeed file replaced the schedule and the projector's rate, silently). Here the effective values are printed first,
and an optimizer that deviates from the config stops the run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from coin_lightning.errors import RunError
from coin_lightning.methods.base import overriding
from coin_lightning.module import ContinualMLLM, part_of
from coin_lightning.schedules import sampled_rates, warmup_steps
from coin_lightning.tasks.base import InstructionTask

Rates = Mapping[str, Sequence[float]]
"""Learning rate of every optimizer step, by parameter group."""
TOLERANCE = 1e-6
"""Relative: rates go through float32 in some schedulers."""


def make_plan(
    module: ContinualMLLM,
    train_tasks: Mapping[int, InstructionTask],
    accumulation: Callable[[InstructionTask], int],
    devices: int,
) -> dict[str, Any]:
    """Content of `plan.json`.

    Args:
        module: gives parameter groups and schedule.
        train_tasks: what is learned at which position.
        accumulation: batches per optimizer step of a task.
        devices: processes that train.

    Raises:
        RunError: a schedule of the config never reaches the configured rates, or reaches them after its warm-up.
    """
    tasks = [_task_plan(module, position, task, accumulation(task), devices) for position, task in train_tasks.items()]
    return {
        "schedule": schedule_name(module),
        "warmup_ratio": warmup_ratio(module),
        "groups": [
            {
                "name": group["name"],
                "lr": group["lr"],
                "tensors": len(group["params"]),
                "parameters": sum(parameter.numel() for parameter in group["params"]),
            }
            for group in module.optimizer_groups()
        ],
        "trainable": trainable_parts(module),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "adapted_layers": len(getattr(module.peft.base_model, "targeted_module_names", [])),
        "mixed_in_by": [method.name for method in overriding(list(module.methods.values()), "samples")],
        "tasks": tasks,
    }


def schedule_name(module: ContinualMLLM) -> str:
    """Name of the configured schedule."""
    function = getattr(module.schedule, "func", module.schedule)
    return str(getattr(function, "__name__", function))


def warmup_ratio(module: ContinualMLLM) -> float | None:
    """Configured share of the steps that warm up; None for a schedule without that setting."""
    ratio = getattr(module.schedule, "keywords", {}).get("warmup_ratio")
    return None if ratio is None else float(ratio)


def trainable_parts(module: ContinualMLLM) -> dict[str, int]:
    """Trainable numbers in adapter, router, projector and methods; a part that has none is left out."""
    parts = {"adapter": 0, "router": 0, "projector": 0, "method": 0}
    for name, count in module.learning().items():
        part = part_of(name)
        parts["router" if part == "adapter" and "router" in name else part] += count
    return {part: count for part, count in parts.items() if count}


def _task_plan(
    module: ContinualMLLM, position: int, task: InstructionTask, accumulation: int, devices: int
) -> dict[str, Any]:
    steps = optimizer_steps(task, accumulation, devices)
    rates = planned_rates(module, steps)
    ratio = warmup_ratio(module)
    warmup = None if ratio is None else warmup_steps(steps, ratio)
    check_peaks(task.name, rates, configured_rates(module), warmup)
    return {
        "experience": position,
        "task": task.name,
        "short": task.short,
        "samples": len(task.train_samples),
        "epochs": task.epochs,
        "batch_size": task.batch_size,
        "accumulation": accumulation,
        "devices": devices,
        "global_batch": task.batch_size * accumulation * devices,
        "steps": steps,
        "warmup_steps": None if warmup is None else max((_peak(curve) for curve in rates.values()), default=0),
        "rates": {name: samples(curve) for name, curve in rates.items()},
    }


def optimizer_steps(task: InstructionTask, accumulation: int, devices: int) -> int:
    """Optimizer steps of a task; Lightning also steps on what is left of the last accumulation of an epoch."""
    return -(-task.steps_per_epoch(devices) // accumulation) * task.epochs


def configured_rates(module: ContinualMLLM) -> dict[str, float]:
    """Learning rate of each parameter group as the config has it."""
    return {str(group["name"]): float(group["lr"]) for group in module.optimizer_groups()}


def planned_rates(module: ContinualMLLM, steps: int) -> dict[str, list[float]]:
    """Rates that the configured schedule gives to the optimizer steps of a task, by parameter group."""
    return sampled_rates(module.schedule, configured_rates(module), steps) if steps else {}


def samples(curve: Sequence[float]) -> dict[str, float]:
    """Rates of the first step, the first one at full rate, the middle one and the last one."""
    return {"first": curve[0], "warm": curve[_peak(curve)], "middle": curve[len(curve) // 2], "last": curve[-1]}


def _peak(curve: Sequence[float]) -> int:
    """Steps before the one that has the highest rate first."""
    return curve.index(max(curve))


def check_peaks(task: str, rates: Rates, configured: Mapping[str, float], warmup: int | None) -> None:
    """A schedule must reach the configured rate of each group, and not later than its warm-up says.

    A task of fewer steps than the warm-up has ends before the peak; that is shown, not refused.

    Raises:
        RunError: names task, group and both rates.
    """
    for name, curve in rates.items():
        top, wanted = max(curve), configured[name]
        late = max(warmup or 0, 2)  # a logarithmic warm-up has two steps at least
        if len(curve) <= late:
            continue
        if not math.isclose(top, wanted, rel_tol=TOLERANCE):
            raise RunError(
                f"{task}: the schedule's highest rate for the {name} is {top:g} and not the configured {wanted:g}; "
                "check schedule and optimizer.lr"
            )
        if warmup is not None and not math.isclose(max(curve[: late + 1]), wanted, rel_tol=TOLERANCE):
            raise RunError(
                f"{task}: the schedule reaches its rate {wanted:g} for the {name} at step {curve.index(top) + 1}, "
                f"but its warm-up has {warmup} steps; check schedule.warmup_ratio"
            )


def check_optimizer(module: ContinualMLLM, optimizers: Sequence[Optimizer], flat: bool = False) -> None:
    """The optimizer that really trains holds every trainable weight once, at the configured base rates.

    Args:
        module: what learns.
        optimizers: of the trainer.
        flat: it holds a tensor of its own for many weights, as DeepSpeed's does: only the rates are looked at.

    Raises:
        RunError: names what is missing, or the group and both rates.
    """
    if len(optimizers) != 1:
        raise RunError(f"{len(optimizers)} optimizers are at work; the plan has one")
    groups = optimizers[0].param_groups
    held = [id(parameter) for group in groups for parameter in group["params"]]
    absent = [name for name, parameter in module.trainable().items() if id(parameter) not in held]
    if not flat and (absent or len(held) != len(module.trainable())):
        raise RunError(
            f"the optimizer holds {len(held)} tensors, {len(module.trainable())} are trainable"
            + (f"; it lacks {len(absent)}, e.g. {absent[0]}" if absent else "")
        )
    base = {str(group.get("name")): group.get("initial_lr", group["lr"]) for group in groups}
    _compare("base rate", base, configured_rates(module))


def check_step(task: str, step: int, optimizer: Optimizer, rates: Rates) -> None:
    """The rates of this optimizer step are the planned ones.

    Args:
        task: for the message.
        step: optimizer steps done in this task so far.
        optimizer: about to step.
        rates: planned for the whole task.

    Raises:
        RunError: names step, group and both rates.
    """
    real = {str(group.get("name")): group["lr"] for group in optimizer.param_groups}
    planned = {name: curve[min(step, len(curve) - 1)] for name, curve in rates.items()}
    _compare(f"{task}, optimizer step {step + 1}: rate", real, planned)


def _compare(what: str, real: Mapping[str, float], planned: Mapping[str, float]) -> None:
    if set(real) != set(planned):
        raise RunError(f"{what}: the optimizer has groups {', '.join(real)}, planned are {', '.join(planned)}")
    for name, rate in planned.items():
        if not math.isclose(real[name], rate, rel_tol=TOLERANCE, abs_tol=1e-15):
            raise RunError(
                f"{what} of the {name} is {real[name]:g} and not {rate:g} as configured; something replaced "
                "the optimizer's or the schedule's settings"
            )
