"""`python -m coin_lightning`: train through a scenario, evaluate after every task, write the report."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

# quiet before the libraries are imported: their bars would break ours, and forked loaders need no tokenizer threads
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

import coin_lightning  # noqa: F401  (registers the adapters)
from coin_lightning.cli.build import build, check_config, conf_dir
from coin_lightning.cli.config_errors import explain
from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.loop import run_sequence
from coin_lightning.continual.progress import SequenceProgress
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.scenario import Experience, Scenario
from coin_lightning.errors import CoinLightningError
from coin_lightning.metrics.score_matrix import ScoreMatrix
from coin_lightning.module import ContinualMLLM
from coin_lightning.quiet import quiet_libraries
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.terminal import final_summary, matrix_table, run_header
from coin_lightning.reporting.wandb_dashboard import log_experience
from coin_lightning.seeding import seed_everything


def train(config: DictConfig, run_path: Path, console: Console) -> Path:
    """Run or continue the sequence; returns the path of the report.

    Raises:
        CoinLightningError: a wrong config, unusable data, missing assets, or a run folder of another config.
    """
    quiet_libraries()
    check_config(config)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    scenario: Scenario = build(config.scenario)
    run = RunDir(run_path, [task.name for task in scenario.tasks])
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    run.claim(resolved)
    if len(run.scores()) <= len(scenario.tasks) or not run.summary_is_current():
        with run.working():
            _continue(config, resolved, scenario, run, console)
    report = run.path / "report.html"
    if not report.exists() or report.stat().st_mtime_ns < (run.path / "matrix.json").stat().st_mtime_ns:
        write_report(run.path)
    console.print(final_summary(run.path))
    return report


def _continue(config: DictConfig, resolved: dict[str, Any], scenario: Scenario, run: RunDir, console: Console) -> None:
    names = config.experiment_name, config.method.name, config.backbone.name
    console.print(run_header(*names, config.seed, run.tasks, run.path, scenario.notes))
    scenario.build()
    seed_everything(config.seed)
    backbone = build(config.backbone)
    progress = SequenceProgress(console)
    with console.status("reading and checking the data"):
        scenario.prepare(backbone, config.seed)
    scenario.compute_features(progress.features)
    module = ContinualMLLM(
        backbone, build(config.adapter), build(config.method), build(config.optimizer), build(config.schedule),
        config.protocol.projector, config.protocol.projector_lr,
    )  # fmt: skip
    run.claim_data({task.name: task.describe() for task in scenario.tasks})
    facts = _facts(config, scenario, module)
    loop = ContinualLoop(scenario, build(config.evaluation), run, config.seed, facts)
    progress.follow(loop)

    def on_row(matrix: ScoreMatrix, row: int) -> None:
        progress.pause()
        console.print(matrix_table(load_matrix(run.path), row))
        log_experience(make.loggers, load_matrix(run.path), row, loop.steps_until(row))
        write_report(run.path)

    loop.on_row = on_row
    make = TrainerFactory(config, resolved, loop, progress, module)
    try:
        run_sequence(loop, module, make)
    finally:
        progress.pause()
        make.close()


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

    def __call__(self, experience: Experience) -> L.Trainer:
        """Build from the config's `trainer`, `callbacks` and `logger` groups."""
        experience.folder.mkdir(parents=True, exist_ok=True)
        factories, name = build(self.config.logger).values(), experience.folder.name
        self.loggers = [factory(self.loop.run.path, name, self.resolved) for factory in factories]
        for logger in self.loggers:
            if hasattr(logger, "offset"):
                logger.offset = self.module.first_step
        callbacks = [self.loop, *build(self.config.callbacks).values(), self.progress]
        options = {} if self.config.trainer.precision != "auto" else {"precision": _precision(self.module)}
        return build(
            self.config.trainer, callbacks=callbacks, logger=self.loggers, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, use_distributed_sampler=False,
            num_sanity_val_steps=0, limit_val_batches=0, max_epochs=experience.task.epochs if experience.task else 1,
            default_root_dir=str(self.loop.run.path), **options,
        )  # fmt: skip

    def close(self) -> None:
        """Finish what loggers keep open."""
        for logger in self.loggers:
            logger.finalize("success")
        if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
            sys.modules["wandb"].finish()


def _precision(module: ContinualMLLM) -> str:
    return {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}.get(module.backbone.model.dtype, "32-true")


def _world_size() -> int:
    """Processes that `torchrun` has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _facts(config: DictConfig, scenario: Scenario, module: ContinualMLLM) -> dict[str, Any]:
    """Fields of `matrix.json` beside scores and cost; `protocol` must be equal for two results to be compared."""
    rates = {group["name"]: group["lr"] for group in module.optimizer_groups()}
    protocol = {
        **OmegaConf.to_container(config.protocol, resolve=True),  # type: ignore[dict-item]
        "scenario": scenario.name,
        "order": ", ".join(task.name for task in scenario.tasks),
        "instructions": config.scenario.instructions,
        "evaluation_cells": config.evaluation.cells,
        "adapter": ", ".join(f"{key} {value}" for key, value in config.adapter.items() if not key.startswith("_")),
        "learning_rates": ", ".join(f"{name} {rate:g}" for name, rate in rates.items()),
        "schedule": config.schedule._target_.rsplit(".", 1)[1],
        "batch": f"{config.scenario.batch_size} x {config.trainer.accumulate_grad_batches} x {_world_size()}",
        "epochs": config.scenario.epochs,
        "train_rows": sum(len(task.train_rows) for task in scenario.tasks),
        "test_rows": sum(len(task.test_rows) for task in scenario.tasks),
        "precision": _precision(module) if config.trainer.precision == "auto" else config.trainer.precision,
        "prompt": module.backbone.prompt.name,
        "image_frame": module.backbone.image_frame,
        "decoding": "greedy",
    }
    return {
        "experiment": config.experiment_name,
        "method": module.method.name,
        "backbone": module.backbone.name,
        "seed": config.seed,
        "protocol": protocol,
        "notes": scenario.notes,
    }


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def _composed(config: DictConfig) -> None:
    console = Console(quiet=int(os.environ.get("RANK", "0")) > 0)  # of several processes one speaks
    try:
        train(config, Path(HydraConfig.get().runtime.output_dir), console)
    except CoinLightningError as error:
        _fail(error)  # here, because Hydra would announce the error itself


def main() -> None:
    """Command line; the exit status is 1 with an explanation when config, data or run folder cannot be used."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, and those of the code keep their traceback
    try:
        _composed()
    except (HydraException, OmegaConfBaseException) as error:
        _fail(explain(error, conf_dir()))


def _fail(error: CoinLightningError) -> NoReturn:
    Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True, highlight=False)
    sys.exit(1)


if __name__ == "__main__":
    main()
