"""What `matrix.json` says beside scores and cost: who learned, by which protocol, on what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from coin_lightning import processes
from coin_lightning.cli.trainers import accumulation, precision_of, protocol_of
from coin_lightning.continual.plan import configured_rates, schedule_name
from coin_lightning.continual.protocol import Protocol
from coin_lightning.continual.scenario import Scenario
from coin_lightning.module import ContinualMLLM
from coin_lightning.reporting.published import text
from coin_lightning.tasks.base import InstructionTask


def run_facts(config: DictConfig, scenario: Scenario, module: ContinualMLLM, judge: str | None) -> dict[str, Any]:
    """Fields of `matrix.json` that no file of a run has; `protocol` must be equal for two results to be compared.

    Args:
        config: composed.
        scenario: read and prepared.
        module: what learns.
        judge: name of the run's own judge.
    """
    return {
        "experiment": config.experiment_name,
        "method": " + ".join(method.name for method in module.methods.values()),
        "method_title": method_title(config),
        "titles": {task.name: task.title for task in scenario.tasks},
        "short": {task.name: task.short for task in scenario.tasks},
        "backbone": module.backbone.name,
        "seed": config.seed,
        "published": config.published,
        "protocol": {**_switches(config, scenario, judge), **_settings(config, scenario, module)},
        "notes": scenario.notes,
    }


def method_title(config: DictConfig) -> str:
    """Name of the method and its plugins for readers, as their yaml has it, or else their keys."""
    named = [config.method.get("title") or config.method.name]
    named += [node.get("title") or node.get("name") or str(key) for key, node in config.plugin.items()]
    return " + ".join(named)


def _switches(config: DictConfig, scenario: Scenario, judge: str | None) -> dict[str, Any]:
    """The protocol's fields; of the global batch what the steps really learn from."""
    protocol = protocol_of(config)
    train_tasks = list(scenario.train_tasks.values())
    return {
        "name": protocol.name,
        "starting_weights": protocol.starting_weights,
        "projector": protocol.projector,
        "projector_lr": protocol.projector_lr,
        "loss_weighting": protocol.loss_weighting,
        "global_batch": by_task(train_tasks, [str(_global_batch(config, task)) for task in train_tasks]),
        "evaluation_frame": protocol.evaluation_frame,
        "boxes": protocol.boxes,
        "long_samples": protocol.long_samples,
        "scorers": protocol.scorers,
        "bwt_divisor": protocol.bwt_divisor,
        "test_subset": _test_subset(protocol, scenario.tasks),
        "judge": judge,
        "judge_variant": protocol.judge_variant,
    }


def _settings(config: DictConfig, scenario: Scenario, module: ContinualMLLM) -> dict[str, Any]:
    train_tasks = list(scenario.train_tasks.values())
    batches = [f"{task.batch_size} x {accumulation(config, task)} x {processes.world_size()}" for task in train_tasks]
    rates = configured_rates(module)
    return {
        "scenario": scenario.name,
        "order": {"joint": "joint", "nothing": None}.get(
            scenario.training, ", ".join(each.name for each in scenario.tasks)
        ),
        "instructions": by_task(scenario.tasks, [task.data.instructions for task in scenario.tasks]),
        "evaluation_cells": config.evaluation.cells,
        "adapter": adapter_text(config.adapter),
        "learning_rates": ", ".join(f"{name} {rate:g}" for name, rate in rates.items()),
        "schedule": schedule_name(module),
        "batch": by_task(train_tasks, batches),
        "epochs": by_task(train_tasks, [task.epochs for task in train_tasks]) or 0,
        "fraction": by_task(scenario.tasks, [task.data.fraction for task in scenario.tasks]),
        "train_samples": sum(len(task.train_samples) for task in train_tasks),
        "test_samples": sum(len(task.test_samples) for task in scenario.tasks),
        "precision": precision_of(config, module),
        "prompt": module.backbone.prompt.name,
        "image_frame": module.backbone.image_frame,
        "box_format": text(module.backbone.box_format.describe()),
        "decoding": "greedy",
    }


def adapter_text(adapter: Mapping[str, Any]) -> str:
    """The settings of an adapter's yaml in its order, as published rows have them."""
    return ", ".join(f"{key} {value}" for key, value in adapter.items() if not str(key).startswith("_"))


def by_task(tasks: Sequence[InstructionTask], values: Sequence[Any]) -> Any:
    """One value for all tasks when they share it, else `task value, task value` by name, so that runs in another order
    say the same; None without tasks."""
    if not tasks:
        return None
    if len(set(values)) == 1:
        return values[0]
    return ", ".join(sorted(f"{task.name} {value}" for task, value in zip(tasks, values, strict=True)))


def _test_subset(protocol: Protocol, tasks: Sequence[InstructionTask]) -> str:
    """Which test samples count: as the protocol says, unless `data.limit_test` or `data.test_ids` leave fewer."""
    if not any(task.data.limit_test or task.data.test_ids for task in tasks):
        return subset_text(protocol.test_subset)
    told = []
    for limit, file in (task.data.test_limit(task.name) for task in tasks):
        listed = subset_text(str(file)) if file else "full"
        told.append(listed if limit is None else f"{limit} of {listed}" if file else str(limit))
    return str(by_task(tasks, told))


def _global_batch(config: DictConfig, task: InstructionTask) -> int:
    return task.batch_size * accumulation(config, task) * processes.world_size()


def subset_text(subset: int | str | Mapping[str, int | str]) -> str:
    """A test subset in words. Of a file of ids its name: `subsets.json` has the ids, and where it lay is private."""
    if isinstance(subset, Mapping):
        return text({task: subset_text(own) for task, own in subset.items()})
    return str(subset) if isinstance(subset, int) or subset == "full" else f"ids of {Path(subset).name}"
