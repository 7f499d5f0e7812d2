"""Hydra and OmegaConf read the same texts anew for every config: in the tests a process reads each of them once.

How configs are composed and resolved stays theirs, only the reading is remembered. Configs of a folder other than the
project's own are read each time, because tests change such folders. What interpolations in defaults lists may refer to,
a quarter of Hydra's work, is put together only where there is one.
"""

import copy
import functools
from typing import Any

import omegaconf
from hydra._internal import defaults_list
from hydra._internal.config_repository import CachingConfigRepository

from coin_lightning.config_folder import conf_dir

PARSERS = (omegaconf.grammar_parser, omegaconf.base, omegaconf.resolvers.oc, omegaconf._utils)
"""Modules that hold the function that parses `${...}`."""
_loaded: dict[str, Any] = {}


def read_once() -> None:
    """From now on, in this process and its forks."""
    remembered = functools.cache(omegaconf.grammar_parser.parse)
    for module in PARSERS:
        module.parse = remembered  # type: ignore[attr-defined]
    _remember_files()
    _look_for_interpolations()


def _remember_files() -> None:
    make = CachingConfigRepository.__init__

    def making(self: Any, delegate: Any) -> None:
        make(self, delegate)
        self.delegate.load_config = functools.partial(_load, self.delegate, self.delegate.load_config)

    CachingConfigRepository.__init__ = making  # type: ignore[method-assign]


def _load(repository: Any, load: Any, config_path: str) -> Any:
    """Where files are found is asked each time: `hydra.searchpath` adds folders to a repository that is there already."""
    if {source.path for source in repository.get_sources() if source.scheme() == "file"} != {str(conf_dir())}:
        return load(config_path=config_path)
    if config_path not in _loaded:
        _loaded[config_path] = load(config_path=config_path)
    return copy.deepcopy(_loaded[config_path])


def _look_for_interpolations() -> None:
    make = defaults_list._create_interpolation_map

    def making(overrides: Any, defaults: Any, self_added: bool) -> Any:
        return make(overrides, defaults, self_added) if any(each.is_interpolation() for each in defaults) else None

    defaults_list._create_interpolation_map = making
