"""From a composed config to objects, with errors that name the key and the nearest valid names."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from coin_lightning.cli import run_names
from coin_lightning.cli.config_errors import hint, missing_groups, unread_keys
from coin_lightning.cli.own_keys import environment_problems, ranges_of, set_by_the_run
from coin_lightning.cli.value_types import RunKeys, Text, checked, hints_of
from coin_lightning.continual.protocol import Protocol
from coin_lightning.errors import CoinLightningError, ConfigError

run_names.register()

CHECKED = ("adapter", "method", "plugin", "objective", "evaluation", "callbacks")
"""Groups whose classes check what annotations cannot say."""
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def conf_dir() -> Path:
    """The `conf` folder: of the checkout, or inside the installed package."""
    package = Path(__file__).parents[1]
    places = (package / "conf", package.parents[1] / "conf")
    return next(folder for folder in places if (folder / "train.yaml").is_file())


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
        name = str(key)
        if OmegaConf.is_missing(config, key) or (path == "" and name == "hydra"):
            continue
        yield from targets(config[key], f"{path}.{name}" if path else name)


def check_config(config: DictConfig) -> None:
    """Find everything that is wrong in a config before anything is loaded.

    Each `_target_` must exist and take the keys beside it, with values of the annotated types and ranges. A key that
    nothing reads is wrong too, and one that the run sets itself. Whole numbers given for text become text in `config`.

    Raises:
        ConfigError: all problems together.
    """
    try:
        OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        problems = missing_groups(config, conf_dir()) or unread_keys(config, conf_dir()) + _group_problems(config)
        problems += [line for path, node in targets(config) for line in node_problems(path, node)]
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).strip()) from error
    if problems:
        raise ConfigError("\n".join(problems))
    for name in CHECKED:
        build(config[name])
    Protocol.of(OmegaConf.to_container(config.protocol, resolve=True))  # type: ignore[arg-type]
    _try_optimizer(config)


def _group_problems(config: DictConfig) -> list[str]:
    """Of the groups that are no call, and of the keys beside the groups."""
    hints = {"": get_type_hints(RunKeys, include_extras=True), "protocol": get_type_hints(Protocol)}
    hints["paths"] = {str(key): Text for key in config.paths}
    nodes = {path: config[path] if path else config for path in hints}
    lines = [line for path, node in nodes.items() for line in checked(node, path, hints[path])]
    return environment_problems(os.environ) + lines


def node_problems(path: str, node: DictConfig) -> list[str]:
    """What keeps a node from being called with the values that it has, as lines."""
    keys = [str(key) for key in node if not str(key).startswith("_")]
    if problems := set_by_the_run(f"{path}.{key}" for key in keys) or binding_problems(path, node):
        return problems
    hints = {**hints_of(get_object(str(node["_target_"]))), **ranges_of(path)}
    if path == "trainer" and node.get("precision") == "auto":  # our word; see `native_precision`
        del hints["precision"]
    return list(checked(node, path, hints))


def _try_optimizer(config: DictConfig) -> None:
    """Optimizers check their own ranges, but only when they are made."""
    try:
        optimizer = build(config.optimizer)([{"params": [torch.zeros(1, requires_grad=True)]}])
        build(config.schedule)(optimizer, total_steps=1)
        if not optimizer.defaults["lr"] > 0:
            raise ConfigError(f"optimizer.lr={optimizer.defaults['lr']}: must be positive, or nothing is learned")
    except (ValueError, TypeError) as error:
        raise ConfigError(f"optimizer or schedule: {error}") from error


def binding_problems(path: str, node: DictConfig) -> list[str]:
    """What keeps a node from being called, as lines."""
    target = str(node["_target_"])
    try:
        called = get_object(target)
    except (ImportError, ValueError) as error:
        reason = str(error).split("\n", 1)[0]
        return [f"{path}._target_: {target} cannot be imported ({reason})"]
    names = accepted(called)
    given = [str(key) for key in node if not str(key).startswith("_")]
    if names is not None:
        wrong = [key for key in given if key not in names]
        if wrong:
            return [f"{path}.{key}: {target} has no such option; {hint(key, names)}" for key in wrong]
    if node.get("_partial_", False):
        return []
    parameters = inspect.signature(called).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in VARIADIC]
    return [f"{path}.{name}: {target} needs this option" for name in needed if name not in given]


def accepted(called: Any) -> set[str] | None:
    """Keywords that a callable takes; None when it takes any.

    A function with `**options` that says which class it returns hands them on to that class.
    """
    signature = inspect.signature(called)
    names = {name for name, parameter in signature.parameters.items() if parameter.kind not in VARIADIC}
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return names
    result = signature.return_annotation
    known = inspect.isfunction(called) and inspect.isclass(result) and result is not signature.empty
    further = accepted(result) if known else None
    return None if further is None else names | further
