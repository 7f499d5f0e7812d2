"""From a composed config to objects, with errors that name the key and the nearest valid names."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from coin_lightning.cli import run_names
from coin_lightning.cli.config_errors import hint, missing_groups, told_once, unread_keys
from coin_lightning.cli.own_keys import environment_problems, ranges_of, set_by_the_run
from coin_lightning.cli.signatures import Signature, imported_signature
from coin_lightning.cli.source_signatures import source_signature
from coin_lightning.cli.value_types import BoundKeys, RunKeys, SweepKeys, Text, checked
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.protocol import Protocol
from coin_lightning.errors import CoinLightningError, ConfigError
from coin_lightning.reporting.published import published_row

run_names.register()

CHECKED = ("adapter", "objective", "evaluation", "callbacks")
"""Groups whose classes, beside methods and plugins, check what annotations cannot say."""
TOLD_BY_PROTOCOL = {
    "evaluation.scorers": "scorers", "data.boxes": "boxes", "data.long_samples": "long_samples",
    "data.test_subset": "test_subset", "answers.evaluation_frame": "evaluation_frame",
    "backbone.starting_weights": "starting_weights",
}  # fmt: skip
"""Key -> the field of the protocol that it takes its value from."""
GROUPS = (*CHECKED, "paths", "protocol", "bounds", "sweep", "scenario", "method", "plugin", "optimizer", "schedule")
"""Groups that are asked for keys."""
TITLE = "title"
"""Key of a method or plugin that is for reports alone: its class does not take it."""
Look = Callable[[str], Signature | None]
"""From a `_target_` to what it takes; None when that is not known."""


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


def build_methods(config: DictConfig) -> tuple[Any, dict[str, Any]]:
    """The method of a config, and its plugins by name.

    Raises:
        ConfigError: as `build`.
    """
    plugins = {str(name): build(_untitled(node)) for name, node in config.plugin.items()}
    return build(_untitled(config.method)), plugins


def _untitled(node: DictConfig) -> dict[Any, Any]:
    return {key: value for key, value in node.items() if key != TITLE}


def _titled(path: str) -> bool:
    """Whether a node has a title for pages beside what its target gets."""
    return path == "method" or path.startswith("plugin.")


def _passed(path: str, node: DictConfig) -> list[str]:
    """Keys of a node that its target gets."""
    return [str(key) for key in node if not str(key).startswith("_") and not (_titled(path) and key == TITLE)]


def targets(config: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every node with a `_target_`, with its key."""
    if isinstance(config, ListConfig):
        for index in range(len(config)):
            yield from targets(config._get_node(index), f"{path}[{index}]")
    if not isinstance(config, DictConfig):
        return
    if "_target_" in config:
        yield path, config
    for key in config:
        name = str(key)
        if path == "" and name == "hydra":
            continue
        # raw: what a reference points to is found where it stands
        yield from targets(config._get_node(key), f"{path}.{name}" if path else name)


def resolve(config: DictConfig) -> None:
    """Put values in the place of references: each is worked out once, not anew whenever it is read.

    Tasks come first: one with a root of its own looks for references to the other root in what all tasks share.

    Raises:
        ConfigError: a reference leads nowhere.
    """
    try:
        if isinstance(config.get("scenario"), DictConfig):
            OmegaConf.resolve(config.scenario)
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).strip()) from error


def check_early(config: DictConfig) -> None:
    """Find what is wrong in a config as far as keys and values tell it. Nothing that the config names is imported.

    What each `_target_` takes is read from its source (see `source_signatures`). What classes check when they are made
    (`rank` is divided by `num_experts`), and values that are annotated with classes, wait for `check_config`.

    Raises:
        ConfigError: all problems together.
        DataError: as `check_claims`.
    """
    _refuse_problems(config, source_signature)
    _protocol(config)
    check_claims(config)


def remember_signatures(config: DictConfig) -> None:
    """Ask the targets of a config what they take, for this process and its forks; of packages that are imported by now.

    What is wrong with one is said by `check_config`.
    """
    for _, node in targets(config):
        target = str(OmegaConf.to_container(node)["_target_"])  # type: ignore[call-overload,index]  # maybe a reference
        if target.partition(".")[0] in sys.modules:
            with suppress(ImportError, ValueError):
                imported_signature(target)


def check_config(config: DictConfig) -> None:
    """Find everything that is wrong in a config before anything is loaded; imports all that the config names.

    Each `_target_` must exist and take the keys beside it, with values of the annotated types and ranges. A key that
    nothing reads is wrong too, and one that the run sets itself. Whole numbers given for text become text in `config`.

    Raises:
        ConfigError: all problems together.
    """
    _refuse_problems(config, imported_signature)
    made = {name: build(config[name]) for name in CHECKED}
    _refuse_learning(made["callbacks"])
    build_methods(config)
    _protocol(config)
    _try_optimizer(config)


def _refuse_problems(config: DictConfig, look: Look) -> None:
    try:
        OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        problems = missing_groups(config, conf_dir()) or unread_keys(config, conf_dir()) + _group_problems(config)
        problems += [line for path, node in targets(config) for line in node_problems(path, node, look)]
        problems = told_once(problems)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).strip()) from error
    if problems:
        raise ConfigError("\n".join(problems))


def _protocol(config: DictConfig) -> None:
    Protocol.of(OmegaConf.to_container(config.protocol, resolve=True))  # type: ignore[arg-type]
    wanted, tasks = str(config.evaluation.scorers), config.scenario.tasks
    lacking: dict[str, list[str]] = {}
    for name, node in tasks.items():
        if node.get("scorers") and wanted not in node.scorers:
            lacking.setdefault(", ".join(map(str, node.scorers)), []).append(str(name))
    if lacking:
        key = "protocol.scorers" if wanted == str(config.protocol.scorers) else "evaluation.scorers"
        there = "; ".join(f"{', '.join(names)} have {known}" for known, names in lacking.items())
        raise ConfigError(f"{key}={wanted}: there is no such scorer variant; {there}")


def check_claims(config: DictConfig) -> None:
    """What results would say of the config is true: what reads a value of the protocol has no other one, and the
    published row that they are put beside exists.

    Raises:
        ConfigError: another value.
        DataError: `published` names no row.
    """
    lines = [
        f"{key}={value!r}, but protocol.{field}={config.protocol[field]!r}, which results would tell; set "
        f"protocol.{field}"
        for key, field in TOLD_BY_PROTOCOL.items()
        if (value := OmegaConf.select(config, key)) is not None and value != config.protocol[field]
    ]
    if lines:
        raise ConfigError("\n".join(lines))
    if config.published is not None:
        published_row(config.published)


def _refuse_learning(callbacks: Mapping[str, Any]) -> None:
    """Callbacks watch: a run is neither named after them nor compared by them."""
    from lightning.pytorch import callbacks as known

    learning = (
        known.WeightAveraging, known.StochasticWeightAveraging, known.GradientAccumulationScheduler,
        known.EarlyStopping, known.BaseFinetuning,
    )  # fmt: skip
    for name, callback in callbacks.items():
        if isinstance(callback, learning):
            raise ConfigError(
                f"callbacks.{name}: {type(callback).__name__} changes what is learned, and no result would tell; write "
                "a method or a plugin (docs/extend.md)"
            )


def _group_problems(config: DictConfig) -> list[str]:
    """Of the groups that are no call, and of the keys beside the groups."""
    if lines := [
        f"{name}: must be a group of keys, found {config.get(name)!r}"
        for name in GROUPS if not isinstance(config.get(name), DictConfig)
    ]:  # fmt: skip
        return lines
    hints = {"": get_type_hints(RunKeys, include_extras=True), "protocol": get_type_hints(Protocol)}
    hints |= {"bounds": get_type_hints(BoundKeys, include_extras=True), "sweep": get_type_hints(SweepKeys)}
    hints["paths"] = {str(key): Text for key in config.paths}
    nodes = {path: config[path] if path else config for path in hints}
    lines = [line for path, node in nodes.items() for line in checked(node, path, hints[path])]
    return environment_problems(os.environ) + lines


def node_problems(path: str, node: DictConfig, look: Look = imported_signature) -> list[str]:
    """What keeps a node from being called with the values that it has, as lines."""
    if problems := set_by_the_run(f"{path}.{key}" for key in _passed(path, node)) or binding_problems(path, node, look):
        return problems
    signature = look(str(node["_target_"])) or Signature()
    hints = {**signature.hints, **ranges_of(path), **({TITLE: Text} if _titled(path) else {})}
    if path == "trainer" and node.get("precision") == "auto":  # our word; see `native_precision`
        hints.pop("precision", None)
    return list(checked(node, path, hints))


def _try_optimizer(config: DictConfig) -> None:
    """Optimizers check their own ranges, but only when they are made."""
    import torch

    made = "optimizer"
    try:
        optimizer = build(config.optimizer)([{"params": [torch.zeros(1, requires_grad=True)]}])
        made = "schedule"
        build(config.schedule)(optimizer, total_steps=1)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{made}: {error}") from error


def binding_problems(path: str, node: DictConfig, look: Look = imported_signature) -> list[str]:
    """What keeps a node from being called, as lines."""
    target = str(node["_target_"])
    try:
        signature = look(target)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        return [f"{path}._target_: {target} cannot be imported ({reason})"]
    if signature is None:
        return []
    given = _passed(path, node)
    if signature.options is not None:
        wrong = [key for key in given if key not in signature.options]
        if wrong:
            return [f"{path}.{key}: {target} has no such option; {hint(key, signature.options)}" for key in wrong]
    if node.get("_partial_", False):
        return []
    return [f"{path}.{name}: {target} needs this option" for name in signature.needed if name not in given]
