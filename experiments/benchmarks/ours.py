"""Our side of the benchmarks: configs, data and modules as the command line builds them."""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
import lightning as L
import torch
from harness import CLOCK, clock
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig

from coin_lightning.backbones.base import Backbone
from coin_lightning.cli.assembly import make_module
from coin_lightning.cli.build import build
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.scenario import Scenario
from coin_lightning.module import ContinualMLLM
from coin_lightning.quiet import quiet_libraries
from coin_lightning.seeding import seed_everything
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.samples import TrainSample

EXPERIMENT = "moelora_llava"


def options(parser: argparse.ArgumentParser, tasks: Sequence[str], rounds: int, limit_s: float = 60.0) -> None:
    """Options that all benchmarks on a model have, with their defaults."""
    parser.add_argument("--tasks", nargs="+", default=list(tasks))
    parser.add_argument("--rounds", type=int, default=rounds, help="each runs every side once; the median counts")
    parser.add_argument("--limit-s", type=float, default=limit_s, help="fewer rounds of a case where they take longer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time: for a machine with other work to do")
    parser.add_argument("--override", nargs="*", default=[], help="as for python -m coin_lightning, e.g. backbone=tiny")


def config_for(args: argparse.Namespace, method: str = "moelora", *more: str) -> DictConfig:
    """The default experiment with another method, the command line's overrides and `more`; sets threads and clock."""
    quiet_libraries()
    CLOCK["cpu"] = args.cpu_time
    whole = "data.fraction=1"  # a load is sized by numbers of samples
    lines = [f"+experiment={EXPERIMENT}", f"method={method}", f"seed={args.seed}", whole, *more, *args.override]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra.compose("train", overrides=lines)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    return config


def prepared(config: DictConfig, backbone: Backbone, names: Sequence[str]) -> list[InstructionTask]:
    """The named tasks, read, checked and with features in the store."""
    scenario: Scenario = build(config.scenario)
    scenario.build()
    scenario.tasks = [task for task in scenario.tasks if task.name in names]
    scenario.prepare(backbone, config.seed)
    scenario.compute_features()
    return scenario.tasks


def continual(config: DictConfig) -> ContinualMLLM:
    """Backbone, adapter and projector, as a run has them before its first task."""
    seed_everything(config.seed)
    backbone = build(config.backbone)
    return make_module(config, backbone, ())


def cross_section(task: InstructionTask, steps: int) -> list[TrainSample]:
    """Samples of `steps` batches that the sampler would take from all: lengths as spread as in the whole task, and
    batches as even as in a full epoch."""
    task.train_dataloader()
    sampler = task._sampler
    assert sampler is not None
    plan = [batch for batch in sampler.plan() if len(batch) == task.batch_size] or sampler.plan()
    return [task.train_samples[sample] for batch in plan[:steps] for sample in batch]


def mixed_dtype(module: ContinualMLLM) -> torch.dtype | None:
    """The autocast type of a run on this model: that of the frozen weights, none with float32."""
    dtype = module.backbone.model.dtype
    return None if dtype == torch.float32 else dtype


def device() -> str:
    """The accelerator where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def on_device(batch: dict[str, Any], module: ContinualMLLM) -> dict[str, Any]:
    """The batch with its tensors where the module is."""
    moved: dict[str, Any] = move_data_to_device(batch, module.device)
    return moved


@contextmanager
def precision(module: ContinualMLLM) -> Iterator[None]:
    """Autocast as Lightning and the Trainer enter it."""
    dtype = mixed_dtype(module)
    with torch.autocast(module.device.type, dtype=dtype, enabled=dtype is not None):
        yield


class Clock(L.Callback):
    """Seconds from the first batch's loading to the end of the last step."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning's hook."""
        self.seconds = -clock()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning's hook."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += clock()


def fit(config: DictConfig, module: ContinualMLLM, task: InstructionTask, *more: L.Callback) -> float:
    """One epoch over the task's samples through `Trainer.fit` with `more` callbacks; seconds of its loop."""
    module.total_steps = task.steps_per_epoch()
    watch = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(
            config.trainer,
            precision="bf16-mixed" if mixed_dtype(module) else "32-true",
            callbacks=[watch, *more],
            max_epochs=1,
            logger=CSVLogger(folder),
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        trainer.fit(module, datamodule=task)
    return watch.seconds


def common_facts(args: argparse.Namespace, config: DictConfig, module: ContinualMLLM) -> dict[str, Any]:
    """What a reader needs beside the numbers."""
    return {
        "backbone": module.backbone.name,
        "dtype": str(module.backbone.model.dtype).removeprefix("torch."),
        "rank": config.adapter.rank,
        "experts": config.adapter.get("num_experts"),
        "batch_size": config.batches.size,
        "seed": args.seed,
        "rounds": args.rounds,
        "tasks": args.tasks,
        "overrides": args.override,
    }
