"""From a composed config to everything that a run is made of, without training anything yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.status import Status

from coin_lightning import processes
from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.quantization import check_quantization
from coin_lightning.cli.build import build, build_methods, targets
from coin_lightning.cli.ending import warn
from coin_lightning.cli.facts import run_facts
from coin_lightning.cli.trainers import TrainerFactory, accumulation, local_gpu, protocol_of
from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.interruption import Interruption
from coin_lightning.continual.progress import SequenceProgress
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.continual.scenario import Scenario
from coin_lightning.continual.shared_answers import SharedAnswers
from coin_lightning.evaluation.judges.base import Judge
from coin_lightning.methods.base import overriding
from coin_lightning.module import ContinualMLLM
from coin_lightning.seeding import seed_everything
from coin_lightning.tasks.base import check_alike

OURS = ("coin_lightning.", "lightning.", "torch.")
"""How the names of code begin whose version `SharedAnswers` knows."""
CHECKING = "reading and checking the data"


@dataclass(frozen=True)
class Assembly:
    """The parts of a run, connected: `loop` asks `make` for nothing, the driver `run_sequence` brings them together."""

    scenario: Scenario
    run: RunDir
    module: ContinualMLLM
    loop: ContinualLoop
    make: TrainerFactory
    progress: SequenceProgress


def make_scenario(config: DictConfig) -> Scenario:
    """Tasks in order, unread; refuses at once what could only fail later.

    Raises:
        ConfigError: a task lacks the scorer variant, or the protocol does not fit the tasks or the machine.
    """
    check_quantization(config.backbone.get("quantization"))
    protocol = protocol_of(config)
    scenario: Scenario = build(config.scenario)
    protocol.check_names(scenario.names)
    for scoring in scenario.scoring.values():
        scoring.scorer(config.evaluation.scorers)
    for task in scenario.train_tasks.values():
        accumulation(config, task)
    return scenario


def counting(status: Status) -> Callable[[str, int], None]:
    """Shows how many images have been looked at; at a first start there may be hundreds of thousands to decode."""
    total = 0

    def tell(task: str, images: int) -> None:
        nonlocal total
        total += images
        status.update(f"{CHECKING}: {task}, {total} images")

    return tell


def assemble(
    config: DictConfig,
    resolved: dict[str, Any],
    scenario: Scenario,
    run: RunDir,
    console: Console,
    judge: Judge | None = None,
    interruption: Interruption | None = None,
) -> Assembly:
    """Load the model, read and check the data, compute what is cached.

    Args:
        config: composed and checked.
        resolved: the same as plain values, for loggers.
        scenario: from `make_scenario`.
        run: claimed for this config.
        console: for progress.
        judge: grades each experience.
        interruption: signals that ask the process to end.

    Raises:
        CoinLightningError: unusable data, missing assets, or a folder of other data.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    scenario.build()
    backbone = build(config.backbone)
    progress = SequenceProgress(console)
    with console.status(CHECKING) as status:
        scenario.prepare(backbone, config.seed, counting(status))
    scenario.compute_features(progress.features, local_gpu(config))
    seed_everything(config.seed)  # right before the adapter draws: a model that is put together first draws, too
    protocol = protocol_of(config)
    module = make_module(config, backbone, [task.name for task in scenario.train_tasks.values()])
    if overriding(list(module.methods.values()), "samples"):  # replay: the present task reads the others' samples
        check_alike(list(scenario.train_tasks.values()))
    processes.decide(partial(_claim_data, scenario, run))

    def tell(text: str) -> None:
        progress.pause()
        warn(console, text)

    grading = RunJudge(run, judge, progress.judging, tell)
    facts = run_facts(config, scenario, module, None if judge is None else judge.name)
    facts["notes"] = [*facts["notes"], *run.change_notes()]
    loop = ContinualLoop(
        scenario, build(config.evaluation), run, config.seed, facts, judge=grading, protocol=protocol,
        interruption=interruption, shared=SharedAnswers(_place_of_answers(config)),
    )  # fmt: skip
    loop.on_reuse = lambda tasks: console.print(f"zero-shot answers of an earlier run: {', '.join(tasks)}")
    progress.follow(loop)
    return Assembly(scenario, run, module, loop, TrainerFactory(config, resolved, loop, progress, module), progress)


def _place_of_answers(config: DictConfig) -> Path | None:
    """Where zero-shot answers are shared; nowhere if code has a say that is not this project's, and may change."""
    ours = all(str(node._target_).startswith(OURS) for key, node in targets(config) if not key.startswith("logger"))
    return Path(config.paths.answers) if ours and config.share_answers else None


def make_module(config: DictConfig, backbone: Backbone, tasks: Sequence[str]) -> ContinualMLLM:
    """What learns, made of the parts that the config names; the adapter and methods draw their first weights here.

    Args:
        config: composed.
        backbone: built.
        tasks: names of what will be learned, in order.
    """
    protocol = protocol_of(config)
    method, plugins = build_methods(config)
    return ContinualMLLM(
        backbone,
        build(config.adapter),
        method,
        build(config.optimizer),
        build(config.schedule),
        protocol.projector,
        protocol.projector_lr,
        protocol.loss_weighting,
        plugins=plugins,
        objective=build(config.objective),
        tasks=tasks,
    )


def _claim_data(scenario: Scenario, run: RunDir) -> None:
    run.claim_data({task.name: task.describe() for task in scenario.tasks})
    run.claim_subsets({task.name: task.subsets() for task in scenario.tasks})
