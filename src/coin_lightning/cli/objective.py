"""What a search looks for: `sweep.objective` names metrics of a finished run, which main returns to a sweeper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from coin_lightning.errors import ConfigError, did_you_mean
from coin_lightning.reporting.glossary import GLOSSARY
from coin_lightning.run_files import read_json


def objectives(config: DictConfig) -> list[str]:
    """Keys of `metrics.json`; none where nothing is looked for.

    Raises:
        ConfigError: one is no metric.
    """
    given: Any = config.sweep.objective
    keys = [str(key) for key in given] if isinstance(given, ListConfig) else [] if given is None else [str(given)]
    for key in keys:
        if key not in GLOSSARY:
            hint = did_you_mean(key, sorted(GLOSSARY)) or f"choose from {', '.join(sorted(GLOSSARY))}"
            raise ConfigError(f"sweep.objective={key}: there is no such metric; {hint}")
    return keys


def values_of(run: Path, keys: Sequence[str]) -> list[float]:
    """The metrics of a finished run.

    Raises:
        ConfigError: its matrix does not define one, as forgetting of a single task.
    """
    metrics = read_json(run / "metrics.json")
    if undefined := [key for key in keys if metrics.get(key) is None]:
        raise ConfigError(f"sweep.objective={undefined[0]}: {run} does not define it")
    return [float(metrics[key]) for key in keys]


def found(config: DictConfig, run: Path) -> float | list[float] | None:
    """What main returns: a number, several, or None where nothing is looked for."""
    keys = objectives(config)
    values = values_of(run, keys) if keys else []
    return values if len(values) > 1 else next(iter(values), None)
