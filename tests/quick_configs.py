"""Hydra and OmegaConf read and merge the same texts anew for every config: in the tests that is done once.

Which files a config consists of, and what its values become, stays theirs; only what they have read, and what the same
files merged into, is remembered. Configs of a folder other than the project's own are read each time, because tests
change such folders. What interpolations in defaults lists may refer to, a quarter of Hydra's work, is put together only
where there is one.
"""

import copy
import functools
import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import omegaconf
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from omegaconf import DictConfig

from coin_lightning.config_folder import conf_dir

PARSERS = (omegaconf.grammar_parser, omegaconf.base, omegaconf.resolvers.oc, omegaconf._utils)
"""Modules that hold the function that parses `${...}`."""
_loaded: dict[str, Any] = {}
_merged: dict[str, bytes] = {}


def read_once(shared: Path | None = None) -> None:
    """From now on, in this process and its forks; with a folder, what one fork has merged is there for the next."""
    remembered = functools.cache(omegaconf.grammar_parser.parse)
    for module in PARSERS:
        module.parse = remembered  # type: ignore[attr-defined]
    _remember_files()
    _remember_merged(shared)
    _look_for_interpolations()


def _remember_files() -> None:
    make = CachingConfigRepository.__init__

    def making(self: Any, delegate: Any) -> None:
        make(self, delegate)
        self.delegate.load_config = functools.partial(_load, self.delegate, self.delegate.load_config)

    CachingConfigRepository.__init__ = making  # type: ignore[method-assign]


def _load(repository: Any, load: Any, config_path: str) -> Any:
    """Where files are found is asked each time: `hydra.searchpath` adds folders to a repository later on."""
    if not _is_own(repository):
        return load(config_path=config_path)
    if config_path not in _loaded:
        _loaded[config_path] = load(config_path=config_path)
    return copy.deepcopy(_loaded[config_path])


def _is_own(repository: Any) -> bool:
    return {each.path for each in repository.get_sources() if each.scheme() == "file"} == {str(conf_dir())}


def _remember_merged(shared: Path | None) -> None:
    """The merged files: three quarters of Hydra's work. Reading a pickle takes a fortieth of the time of merging."""
    merge = ConfigLoaderImpl._compose_config_from_defaults_list

    def merging(self: Any, defaults: list[Any], repo: Any) -> DictConfig:
        if not _is_own(repo):
            return merge(self, defaults=defaults, repo=repo)
        key = hashlib.sha256(repr(defaults).encode()).hexdigest()
        file = shared / key if shared else None
        if key not in _merged and file and file.is_file():
            _merged[key] = file.read_bytes()
        if key not in _merged:
            _merged[key] = pickle.dumps(merge(self, defaults=defaults, repo=repo))
            if file:
                _write(file, _merged[key])
        config: DictConfig = pickle.loads(_merged[key])
        return config

    ConfigLoaderImpl._compose_config_from_defaults_list = merging  # type: ignore[method-assign]


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_bytes(content)
    part.replace(file)  # whole or not at all: forks are killed at any moment


def _look_for_interpolations() -> None:
    make = defaults_list._create_interpolation_map

    def making(overrides: Any, defaults: Any, self_added: bool) -> Any:
        return make(overrides, defaults, self_added) if any(each.is_interpolation() for each in defaults) else None

    defaults_list._create_interpolation_map = making
