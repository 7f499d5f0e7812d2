"""Loggers of one experience. Each factory takes the run folder, the experience's folder name, the resolved config."""

import itertools
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from pydantic import NonNegativeInt

from coin_lightning.reporting.wandb_logger import SequenceWandbLogger


class SequenceCSVLogger(CSVLogger):
    """Lightning's CSV logger on one axis over the sequence: `offset`, the steps of the tasks before, is added."""

    offset = 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """As Lightning's; `step` counts from the start of the task."""
        super().log_metrics(metrics, None if step is None else self.offset + step)


class SequenceTensorBoardLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger with the step axis of the whole sequence; see `SequenceCSVLogger`."""

    offset = 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """As Lightning's; `step` counts from the start of the task."""
        super().log_metrics(metrics, None if step is None else self.offset + step)


def csv(run_dir: Path, experience: str, config: dict[str, Any]) -> Logger:
    """`logs/csv/<experience>/metrics.csv`; a task that was killed and went on has one more, `<experience>_2`, ..."""
    root = run_dir / "logs" / "csv"
    names = itertools.chain([experience], (f"{experience}_{number}" for number in itertools.count(2)))
    version = next(name for name in names if not (root / name / "metrics.csv").exists())
    return SequenceCSVLogger(str(run_dir / "logs"), name="csv", version=version)


def tensorboard(run_dir: Path, experience: str, config: dict[str, Any]) -> Logger:
    """One TensorBoard run for the whole sequence, in `logs/tensorboard`."""
    return SequenceTensorBoardLogger(str(run_dir / "logs"), name="tensorboard", version="")


def wandb(
    run_dir: Path,
    experience: str,
    config: dict[str, Any],
    project: str = "coin_lightning",
    mode: str = "auto",
    entity: str | None = None,
    group: str | None = None,
    name: str | None = None,
    tags: list[str] | None = None,
    artifacts: bool = True,
    examples: NonNegativeInt = 4,
) -> Logger:
    """One W&B run for the whole sequence; see `SequenceWandbLogger`."""
    return SequenceWandbLogger(
        run_dir, project=project, mode=mode, config=config, artifacts=artifacts, examples=examples,
        entity=entity, group=group, name=name, tags=tags,
    )  # fmt: skip
