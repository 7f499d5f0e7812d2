"""A Lightning trainer for each experience, from the config's `trainer`, `callbacks` and `logger` groups."""

import shlex
import sys
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.plugins import CheckpointIO
from omegaconf import DictConfig, OmegaConf

from coin_lightning import processes
from coin_lightning.cli.build import build
from coin_lightning.cli.ending import warn
from coin_lightning.cli.launch import can_repeat, launch
from coin_lightning.cli.strategies import check_accumulation, check_device, check_strategy
from coin_lightning.continual.base_model import fingerprint
from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.checkpoint import InPlace
from coin_lightning.continual.progress import SequenceProgress
from coin_lightning.continual.protocol import Protocol
from coin_lightning.continual.run_dir import SHORT, RunDir
from coin_lightning.continual.scenario import Experience
from coin_lightning.errors import ConfigError
from coin_lightning.module import ContinualMLLM
from coin_lightning.reporting.logger_guard import Guard
from coin_lightning.reporting.wandb_logger import finish_run
from coin_lightning.sharded_strategy import in_step
from coin_lightning.tasks.base import InstructionTask


class TrainerFactory:
    """A new trainer, with new callbacks and loggers, for each experience."""

    def __init__(
        self,
        config: DictConfig,
        resolved: dict[str, Any],
        loop: ContinualLoop,
        progress: SequenceProgress,
        module: ContinualMLLM,
    ) -> None:
        self.config, self.resolved, self.loop, self.progress, self.module = config, resolved, loop, progress, module
        self.loggers: list[Any] = []
        self._guards: dict[str, Guard] = {}

    def __call__(self, experience: Experience) -> L.Trainer:
        """Build from the config's groups, with the accumulation that makes the protocol's global batch."""
        experience.folder.mkdir(parents=True, exist_ok=True)
        given = self.loop.run.path, experience.folder.name, self.resolved
        factories = build(self.config.logger)
        self.loggers = [self._guard(name).logger(factory, *given) for name, factory in factories.items()]
        for logger in self.loggers:
            if hasattr(logger, "offset"):
                logger.offset, logger.position = self.module.first_step, experience.position
        callbacks = [self.loop, *build(self.config.callbacks).values(), self.progress]
        options: dict[str, Any] = (
            {} if self.config.trainer.precision != "auto" else {"precision": native_precision(self.module)}
        )
        if experience.task is not None:
            options["accumulate_grad_batches"] = accumulation(self.config, experience.task)
        return _trainer(
            self.config, callbacks=callbacks, logger=self.loggers,
            max_epochs=experience.task.epochs if experience.task else 1, default_root_dir=str(self.loop.run.path),
            **options,
        )  # fmt: skip

    def close(self) -> None:
        """Finish what loggers keep open."""
        for logger in self.loggers:
            logger.finalize("success")
        self._guard("wandb")(finish_run)

    def _guard(self, name: str) -> Guard:
        return self._guards.setdefault(name, Guard(name, self._tell))

    def _tell(self, text: str) -> None:
        self.progress.pause()
        warn(self.progress.console, text)


def complete_wandb(config: DictConfig, resolved: dict[str, Any], run: RunDir, tell: Callable[[str], None]) -> None:
    """Give W&B what it lacks of a finished run that was killed right behind its last scores."""
    factories = build({name: node for name, node in config.logger.items() if name == "wandb"})
    for name, factory in factories.items():
        guard = Guard(name, tell)
        guard.logger(factory, run.path, run.folder(run.positions[-1]).name, resolved)
        guard(finish_run)


def _trainer(config: DictConfig, **options: Any) -> L.Trainer:
    """The config's trainer, in the environment that `processes` speaks of, without what the run does for itself."""
    plugins = [*build(config.trainer.get("plugins") or []), processes.cluster()]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(InPlace())
    options["plugins"] = [plugin for plugin in plugins if plugin is not None]
    trainer: L.Trainer = build(
        config.trainer, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        use_distributed_sampler=False, num_sanity_val_steps=0, limit_val_batches=0, **options,
    )  # fmt: skip
    if in_step(trainer.strategy):  # it keeps what it gathers into: made in inference mode, nothing could learn with it
        trainer.predict_loop.inference_mode = False
    return trainer


def check_processes(config: DictConfig) -> None:
    """As many processes have been started as the trainer is going to use. Where one was started alone it starts them,
    waits, and ends with their exit status. From here on the GPU that this process learns on is its default one.

    Raises:
        ConfigError: there are more, or they can only be started from outside; the message has the command that does it.
            Or the strategy does not go together with the rest of the config.
        SystemExit: they have done the work.
    """
    started = processes.world_size()
    _check_accelerator(config.trainer.get("accelerator", "auto"))
    trainer = _trainer(config, logger=False, precision="32-true")
    check_strategy(config, trainer.strategy)
    check_device(config, trainer.strategy.root_device.type)
    wanted = trainer.num_devices * trainer.num_nodes
    if started == wanted:
        if trainer.strategy.root_device.type == "cuda":  # a trainer's run sets it late: quantised weights load before
            torch.cuda.set_device(trainer.strategy.root_device)
        return
    if started == 1:
        if reason := _unlaunchable(trainer):
            raise ConfigError(_start_them(config, trainer, reason))
        sys.exit(launch(wanted))
    raise ConfigError(
        f"{started} processes were started, but trainer.devices={config.trainer.devices} makes {wanted}: each would "
        f"learn for itself. Add trainer=ddp trainer.devices={started // trainer.num_nodes}, or start one process only"
    )


def _check_accelerator(wanted: Any) -> None:
    """Lightning says which accelerators there are, but not under which key."""
    kinds = AcceleratorRegistry.available_accelerators()
    here = sorted(name for name in kinds if AcceleratorRegistry[name]["accelerator"].is_available())
    meant = {"cuda", "mps"} if wanted == "gpu" else {wanted} & kinds
    if meant and not meant & set(here):
        raise ConfigError(f"trainer.accelerator={wanted}: this machine has none; it has {', '.join(here)}")


def local_gpu(config: DictConfig) -> torch.device | None:
    """Where this process is going to learn, behind `check_processes`; None where that is no GPU."""
    if config.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return None
    return torch.device("cuda", torch.cuda.current_device())


def _unlaunchable(trainer: L.Trainer) -> str:
    """Why this process cannot start the others; empty where it can."""
    if trainer.num_nodes > 1:
        return f"trainer.num_nodes={trainer.num_nodes}: nobody here can start those of another machine"
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return "a member of a sweep has not a command of its own; give each member's command by itself"
    return "" if can_repeat() else "it was not started as a command"


def _start_them(config: DictConfig, trainer: L.Trainer, reason: str) -> str:
    nodes = f"--nnodes {trainer.num_nodes} --rdzv-endpoint HOST:PORT " if trainer.num_nodes > 1 else ""
    # of a member of a sweep its own values, not what is swept
    member = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    words = list(HydraConfig.get().overrides.task) if member else sys.argv[1:]
    wanted = trainer.num_devices * trainer.num_nodes
    return (
        f"trainer.devices={config.trainer.devices} makes {wanted} processes, but this one was started alone ({reason})."
        f" Start them together: torchrun {nodes}--nproc-per-node {trainer.num_devices} -m coin_lightning "
        f"{shlex.join(words)} (or with srun, one task per device), or set trainer.devices=1"
    )


def accumulation(config: DictConfig, task: InstructionTask) -> int:
    """Batches per optimizer step of a task.

    Raises:
        ConfigError: the protocol's global batch cannot be made.
    """
    own = config.trainer.accumulate_grad_batches
    batches = protocol_of(config).accumulation(task.name, task.batch_size, processes.world_size(), own)
    return check_accumulation(config, task.name, batches)


def protocol_of(config: DictConfig) -> Protocol:
    """The config's protocol, checked.

    Raises:
        ConfigError: a field is missing or wrong.
    """
    values: Any = OmegaConf.to_container(config.protocol, resolve=True)
    return Protocol.of(values)


def precision_of(config: DictConfig, module: ContinualMLLM) -> str:
    """Lightning's name of the precision that a run learns in: `auto` by the backbone, older names as they are now."""
    given = str(config.trainer.precision)
    return native_precision(module) if given == "auto" else SHORT.get(given, given)


def model_facts(config: DictConfig, module: ContinualMLLM) -> dict[str, str | None]:
    """What `RunDir.check_model` compares; the dtype is that of the frozen weights, as `backbone.dtype` names it."""
    dtype = str(module.backbone.model.dtype).removeprefix("torch.")
    return {"precision": precision_of(config, module), "dtype": dtype, "fingerprint": fingerprint(module)}


def native_precision(module: ContinualMLLM) -> str:
    """Lightning's name of the precision that fits the backbone's weights."""
    return {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}.get(module.backbone.model.dtype, "32-true")
