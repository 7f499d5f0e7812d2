"""Loggers of one experience. Each factory takes the run folder, the experience's folder name and the resolved config."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from coin_lightning.reporting.wandb_dashboard import SequenceWandbLogger


def csv(run_dir: Path, experience: str, config: dict[str, Any]) -> Logger:
    """`logs/csv/<experience>/metrics.csv`."""
    return CSVLogger(str(run_dir / "logs"), name="csv", version=experience)


def tensorboard(run_dir: Path, experience: str, config: dict[str, Any]) -> Logger:
    """One TensorBoard run for the whole sequence, in `logs/tensorboard`."""
    return TensorBoardLogger(str(run_dir / "logs"), name="tensorboard", version="")


def wandb(run_dir: Path, experience: str, config: dict[str, Any], project: str = "coin_lightning", mode: str = "auto", **options: Any) -> Logger:
    """One W&B run for the whole sequence; see `SequenceWandbLogger`."""
    return SequenceWandbLogger(run_dir, project=project, mode=mode, config=config, **options)
