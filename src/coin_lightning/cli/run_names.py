"""The folder of a run, named after the command line: readable, and no longer than file systems allow."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from coin_lightning.assets import cache_root
from coin_lightning.continual.free_keys import is_named
from coin_lightning.errors import ConfigError

LONGEST = 180
"""Bytes of a folder name; most file systems take 255, and other programs add to it."""
DATA_ROOT = "${data.root}"
"""How a source's yaml says that it lies where the data do."""


def folder_name(overrides: Sequence[str]) -> str:
    """The overrides of a command that can tell its results from others', sorted, as one folder.

    Values are written as a sweep writes those of its members (`5e-4` as `0.0005`), which have the folder that they have
    when they are started alone. Slashes become `_`; a long name is cut, and its hash tells it apart.
    """
    named = ",".join(sorted(_written(each) for each in overrides if is_named(key_of(each))))
    name = named.replace("/", "_")
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(named.encode()).hexdigest()[:10]
    return f"{name.encode()[: LONGEST - 11].decode(errors='ignore')}-{digest}"


def key_of(word: str) -> str:
    """The config key that an override is about, without its `+` or `~`."""
    return word.lstrip("+~").partition("=")[0]


@cache
def _written(word: str) -> str:
    override = OverridesParser.create().parse_override(word)
    if override.is_delete() and override.value() is None:  # `~key`, or a sweep's `~key=null`
        return override.get_key_element()
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def absolute(path: str) -> str:
    """Not below the folder of a sweep, however it is given."""
    return str(Path(path).absolute())


def default_cache() -> str:
    """Where models, images and features go that are made once; see `assets.cache_root`.

    Raises:
        ConfigError: there is neither a variable nor a home.
    """
    try:
        return str(cache_root())
    except RuntimeError as error:
        raise ConfigError(f"{error}; set COIN_LIGHTNING_CACHE=FOLDER or HOME") from error


def below_root(source: Any, root: str, *, _parent_: Any) -> Any:
    """The source of all tasks for one of them: its own `root` stands wherever the source says `${data.root}`."""
    if not isinstance(source, DictConfig):
        return source
    options: Any = OmegaConf.to_container(source)
    own = {
        key: value.replace(DATA_ROOT, str(root)) if isinstance(value, str) else value for key, value in options.items()
    }
    return OmegaConf.create(own, parent=_parent_)


def register() -> None:
    """Make them known to configs by their names: `${folder_name:...}`, `${absolute:...}` and so on."""
    for function in (folder_name, absolute, default_cache, below_root):
        OmegaConf.register_new_resolver(function.__name__, function, replace=True)
