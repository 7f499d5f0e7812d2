"""From a composed config to objects, with errors that name the key and the nearest valid names."""

import difflib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from coin_lightning.errors import CoinLightningError, ConfigError


def conf_dir() -> Path:
    """The `conf` folder: of the checkout, or inside the installed package."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "conf", package.parents[1] / "conf") if (folder / "train.yaml").is_file())


def build(config: Any, *args: Any, **kwargs: Any) -> Any:
    """Hydra's `instantiate`, but our own errors come through unwrapped and others name the config key.

    Raises:
        ConfigError: the target cannot be called with these values.
    """
    try:
        return instantiate(config, *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, CoinLightningError):
            raise cause from None
        raise ConfigError(str(error)) from error


def targets(config: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every node with a `_target_`, with its key."""
    if isinstance(config, ListConfig):
        for index, item in enumerate(config):
            yield from targets(item, f"{path}[{index}]")
    if not isinstance(config, DictConfig):
        return
    if "_target_" in config:
        yield path, config
    for key in config:
        if OmegaConf.is_missing(config, key) or (path == "" and key == "hydra"):
            continue
        yield from targets(config[key], f"{path}.{key}" if path else str(key))


def check_config(config: DictConfig) -> None:
    """Find every wrong key before anything is loaded: each `_target_` must exist and take the keys beside it.

    Raises:
        ConfigError: all problems together.
    """
    try:
        OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        problems = [line for path, node in targets(config) for line in binding_problems(path, node)]
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).strip()) from error
    if problems:
        raise ConfigError("\n".join(problems))


def binding_problems(path: str, node: DictConfig) -> list[str]:
    """What keeps a node from being called, as lines."""
    target = str(node["_target_"])
    try:
        called = get_object(target)
    except (ImportError, ValueError) as error:
        return [f"{path}._target_: {target} cannot be imported ({str(error).splitlines()[0]})"]
    signature = inspect.signature(called)
    names = [name for name, parameter in signature.parameters.items() if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    given = [str(key) for key in node if not str(key).startswith("_")]
    problems = []
    for key in given:
        if key not in names and not takes_any:
            close = difflib.get_close_matches(key, names, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it takes {', '.join(names)}"
            problems.append(f"{path}.{key}: {target} has no such option; {hint}")
    if not problems and not node.get("_partial_", False):
        needed = [
            name for name, parameter in signature.parameters.items()
            if parameter.default is parameter.empty and name in names and name not in given and name != "self"
        ]  # fmt: skip
        problems += [f"{path}.{name}: {target} needs this option" for name in needed]
    return problems
