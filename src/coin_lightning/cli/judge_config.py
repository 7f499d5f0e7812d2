"""Which judge a command line asks for: a choice from the `judge` group, or the one that the run itself names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from coin_lightning.cli.build import node_problems
from coin_lightning.cli.config_errors import understood
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.run_scoring import plain_config_of


def judge_config(run: Path, overrides: Sequence[str]) -> DictConfig:
    """The `judge` node of a config.

    Args:
        run: the run folder. The protocol of its config.yaml says how replies are read unless an override does.
        overrides: `judge=<option>` and `judge.<key>=<value>`; without the first, the run's own judge.

    Raises:
        ConfigError: an override of something else, an option that the judge does not have, or no judge at all.
    """
    keys = [override.lstrip("+").split("=", 1)[0] for override in overrides]
    wrong = [each for each, key in zip(overrides, keys, strict=True) if key != "judge" and not key.startswith("judge.")]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}: only judge=... and judge.<key>=... can be set; the run is what it is")
    config = plain_config_of(run)
    node = _composed(config, overrides) if "judge" in keys else _own(config, run, overrides)
    if problems := node_problems("judge", node):
        own = [] if "judge" in keys else [f"{run / 'config.yaml'}, as far as nothing else is given:"]
        raise ConfigError("\n".join([*own, *problems]))
    return node


def _composed(config: dict[str, Any], overrides: Sequence[str]) -> DictConfig:
    variant = (config.get("protocol") or {}).get("judge_variant")
    reading = [] if variant is None else [f"++protocol.judge_variant={variant}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("train", overrides=[*reading, *understood(list(overrides))])
    node: Any = OmegaConf.to_container(composed.judge, resolve=True)
    return OmegaConf.create(node)


def _own(config: dict[str, Any], run: Path, overrides: Sequence[str]) -> DictConfig:
    own = config.get("judge")
    if not own or str(own.get("_target_", ".no_judge")).endswith(".no_judge"):
        raise ConfigError(
            f"{run / 'config.yaml'}: the run has no judge of its own; say judge=embedding, judge=hf or judge=openai"
        )
    given: Any = OmegaConf.from_dotlist([override.lstrip("+") for override in overrides])
    node: Any = OmegaConf.merge(OmegaConf.create(own), given.get("judge") or {})
    return node
