"""What is wrong with a command line or a yaml, said with the key and the nearest names that exist."""

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from coin_lightning.errors import ConfigError, did_you_mean

OVERRIDE = re.compile(r"Could not override '([^']+)'")
WITH_EQUALS = re.compile(r"^([+~\w.@/]+)=([^'\"\[{(,]*=[^'\",]*)$")
PATH = re.compile(r"^(\+{0,2}(?:run_dir|bounds\.joint|paths\.\w+)=)([^'\"\[{$].*)$")
"""A key that takes one path, with its value: not a choice of several, whatever commas there are in the name."""
GROUP_VALUE = "Config group override must be"
OPTIONAL = {"joblib": "sweeps", "submitit": "sweeps", "slurm": "sweeps", "ray": "ray"}
"""Beginnings of names of launchers -> the extra that they come with."""
OPTION = re.compile(r"Could not (?:find|load) '([^']+)/([^'/]+)'")


SHOWN = 40
"""Names that a message lists."""


def hint(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`did you mean a or b?`, or the list when nothing is near; of very many keys those of the top.

    Args:
        name: what was given.
        known: names that exist.
        prefix: goes before what was meant, as the group of keys in it.
    """
    names = sorted(set(known))
    if near := did_you_mean(name, names, prefix):
        return near
    top = sorted({key.split(".", 1)[0] for key in names})
    return f"choose from {', '.join(names if len(names) <= SHOWN else top)}"


def explain(error: Exception, conf: Path) -> ConfigError:
    """Hydra's complaint about a command line in our words.

    Args:
        error: what Hydra raised while it composed the config.
        conf: folder with `train.yaml` and the groups.
    """
    text = str(error)
    if found := OPTION.search(text):
        group, option = found.groups()
        extra = next((extra for name, extra in OPTIONAL.items() if option.startswith(name)), None)
        if group == "hydra/launcher" and extra is not None:
            return ConfigError(f"{group}={option}: needs a package; pip install 'coin-lightning[{extra}]'")
        options = [file.stem for file in (conf / group).glob("[!_]*.yaml")]
        if options:
            return ConfigError(f"{group}={option}: there is no {group}/{option}.yaml; {hint(option, options)}")
    if found := OVERRIDE.search(text):
        key = found.group(1)
        if (conf / key).is_dir() and key not in root_keys(conf):
            return ConfigError(f"{key}: is added with a plus: +{key}=...")
        if key in known_keys(conf):
            group = key.partition(".")[0]
            return ConfigError(f"{key}: the option of {group} that was chosen has no such key, another has")
        return ConfigError(f"{key}: {_why_unknown(key, _composed(error), conf)}")
    if GROUP_VALUE in text:
        return ConfigError(f"{text}: a group cannot be null; take another option, e.g. judge=none or logger=csv")
    cause = f"\n{error.__cause__}" if error.__cause__ else ""
    return ConfigError(f"{text.strip()}{cause}")


def _composed(error: Exception) -> Any:
    """The config that Hydra could not put an override into; None where the error does not know it."""
    parent = getattr(error.__cause__, "parent_node", None)
    return None if parent is None else parent._get_root()


def _why_unknown(key: str, config: Any, conf: Path) -> str:
    """Where a dotted key ends on its way through a config.

    Hydra has put an empty group in the place of a reference or a value that got a key: what stood there is gone.
    """
    node, known = config, known_keys(conf)
    way: list[str] = []
    for name in key.split("."):
        child = node._get_node(name, validate_access=False) if isinstance(node, DictConfig) else None
        if child is None:
            break
        node, way = child, [*way, name]
    found = ".".join(way)
    wrong = key.removeprefix(f"{found}.").split(".")[0]
    if not found:
        return f"there is no such config key; {hint(key, known)}"
    below = {each.removeprefix(f"{found}.").split(".")[0] for each in known if each.startswith(f"{found}.")}
    if names := set(map(str, node)) or below:
        return f"there is no such config key; {hint(wrong, names, f'{found}.')}"
    return (
        f"there is no such config key; {found} is a reference or a single value, so it has no {wrong} of its own: set "
        f"what it refers to, or all of it with {found}=..."
    )


def understood(words: list[str]) -> list[str]:
    """A command line as Hydra's parser can read it.

    `-m` goes in front, because behind an override the parser would stop there; a path, and a value with `=` in it, as
    the folders of runs have, gets quotes, unless it is a list or a choice of several.
    """
    flags = [word for word in words if word in ("-m", "--multirun")]
    return flags[:1] + [WITH_EQUALS.sub(r"\1='\2'", _path_in_quotes(word)) for word in words if word not in flags]


def _path_in_quotes(word: str) -> str:
    found = PATH.match(word)
    if found is None or found[2] == "null":
        return word
    path = os.path.expanduser(found[2]).replace("'", "\\'")  # behind `=` a shell leaves `~` as it is
    return f"{found[1]}'{path}'"


def known_keys(conf: Path) -> set[str]:
    """Dotted names of everything that a run's config may set: `adapter.rank`, `optimizer.lr`, `method`, ..."""
    keys = set(root_keys(conf))
    for folder in conf.iterdir():
        files = folder.glob("*.yaml") if folder.name in keys else []
        keys.update(name for file in files for name in _dotted(OmegaConf.load(file), folder.name))
    return keys


@cache
def root_keys(conf: Path) -> frozenset[str]:
    """Top-level keys: what `train.yaml` sets itself, and its groups."""
    train: Any = OmegaConf.to_container(OmegaConf.load(conf / "train.yaml"))
    groups = [group for entry in train.pop("defaults") if isinstance(entry, dict) for group in entry]
    return frozenset([*train, *groups])


@cache
def group_keys(conf: Path, group: str) -> frozenset[str]:
    """Keys that at least one option of a group has."""
    contents = [OmegaConf.load(file) for file in (conf / group).glob("*.yaml")]
    return frozenset(str(key) for content in contents for key in content if key != "defaults")


def unread_keys(config: DictConfig, conf: Path) -> list[str]:
    """Keys that nothing reads: unknown ones at the top, and in groups that are no call and hold none.

    An experiment yaml adds any key it likes to a config; a typo in it would otherwise change nothing, silently.
    """
    known = root_keys(conf)
    given = [str(key) for key in config]
    problems = [f"{key}: there is no such config key; {hint(key, known)}" for key in given if key not in known]
    for group in sorted(known.intersection(given)):
        node = config._get_node(group)
        if not isinstance(node, DictConfig) or group == "hydra" or "_target_" in node or not (conf / group).is_dir():
            continue
        names = group_keys(conf, group)
        unknown = [str(key) for key in node if key not in names and not _is_call(node, str(key))]
        problems += [f"{group}.{key}: there is no such config key; {hint(key, names)}" for key in unknown]
    return problems


def told_once(lines: Iterable[str]) -> list[str]:
    """Without what is said of values taken over: `data.root=1: ...` says it for `scenario.tasks.gqa.data.root`, too."""
    every = dict.fromkeys(lines)
    return [line for line in every if not any(line.endswith(f".{other}") for other in every)]


def missing_groups(config: DictConfig, conf: Path) -> list[str]:
    """Groups that a run needs and that were taken out (`judge=null`), or put a plain value for."""
    groups = [group for group in sorted(root_keys(conf)) if (conf / group).is_dir() and group != "hydra"]
    wrong = [group for group in groups if group not in config or not isinstance(config[group], DictConfig)]
    options = {group: ", ".join(sorted(file.stem for file in (conf / group).glob("[!_]*.yaml"))) for group in wrong}
    return [f"{group}: a run needs this group; choose {group}= from {options[group]}" for group in wrong]


def _is_call(node: DictConfig, key: str) -> bool:
    child = node._get_node(key)
    return isinstance(child, DictConfig) and "_target_" in child


def _dotted(node: Any, path: str) -> Iterator[str]:
    for key in map(str, node if isinstance(node, DictConfig) else ()):
        if key == "defaults" or key.startswith("_"):
            continue
        yield f"{path}.{key}"
        yield from _dotted(node._get_node(key), f"{path}.{key}")
