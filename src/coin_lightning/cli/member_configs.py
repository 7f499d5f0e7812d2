"""Configs of the members of a sweep, composed as Hydra does, but what they share only once.

Most of the third of a second that Hydra takes for a config goes into files and groups, which the members of a grid over
values have in common.
"""

import copy
from collections.abc import Sequence
from typing import Any

from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from coin_lightning.cli.build import remember_signatures

CONFIG = "train"
Words = tuple[str, ...]


class MemberConfigs:
    """Composes configs, Hydra's part included; remembers each set of group choices. Hydra must be initialised.

    Args:
        hydra: overrides of the sweep for Hydra itself. They are no words of a member, but its job has them, too; they
            may say where groups are found.
    """

    def __init__(self, hydra: Sequence[str] = ()) -> None:
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        self._hydra, self._parser = tuple(hydra), OverridesParser.create(config_loader=loader)
        _, self._groups = loader._parse_overrides_and_create_caching_repo(CONFIG, list(hydra))
        self._bases: dict[Words, DictConfig] = {}

    def __call__(self, words: Words) -> DictConfig:
        """The config of these overrides, equal to what `hydra.compose` makes of them behind those of the sweep.

        Raises:
            HydraException, OmegaConfBaseException: of `hydra.compose`.
        """
        words = (*self._hydra, *words)
        try:
            parsed = self._parser.parse_overrides(list(words))
            if not any(map(self._is_change, parsed)):
                return self._with_values(parsed)
        except (HydraException, OmegaConfBaseException):
            pass  # said below, in the words in which the run would say it
        return compose(CONFIG, overrides=list(words), return_hydra_config=True)

    def _with_values(self, parsed: list[Override]) -> DictConfig:
        values = [each for each in parsed if not self._is_choice(each)]
        choices = tuple(str(each.input_line) for each in parsed if self._is_choice(each))
        if choices not in self._bases:
            self._bases[choices] = compose(CONFIG, overrides=list(choices), return_hydra_config=True)
        config = copy.deepcopy(self._bases[choices])
        ConfigLoaderImpl._apply_overrides_to_config(values, config)  # behind all choices, wherever they stand
        own = [each for each in parsed if not each.is_hydra_override()]
        config.hydra.overrides.task = [each.input_line for each in own]
        config.hydra.job.override_dirname = get_overrides_dirname(own, **config.hydra.job.config.override_dirname)
        return config

    def _is_choice(self, override: Override) -> bool:
        """Of a group's option, or for Hydra itself; a mapping is put into the values of its group."""
        if override.is_hydra_override():
            return True
        return self._groups.group_exists(override.key_or_group) and not isinstance(override.value(), dict)

    def _is_change(self, override: Override) -> bool:
        """Whether it adds or removes values, so that what others mean may depend on it."""
        changes = override.is_add() or override.is_force_add() or override.is_delete()
        return changes and not self._is_choice(override)


class MemberLoader:
    """What Hydra's basic launcher asks for the config of each member; in all else the loader that it has had."""

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self._loader = loader
        self._configs: MemberConfigs | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """As Hydra's, which composes it anew."""
        if master_config.hydra.job.config_name != CONFIG:
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        if first := self._configs is None:
            # as typed: read singly they resolve
            told: Any = OmegaConf.to_container(master_config.hydra.overrides.hydra)
            self._configs = MemberConfigs(told)
        config = self._configs(tuple(sweep_overrides))
        if first:
            remember_signatures(config)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config


def share_composing(launcher: Any) -> None:
    """Let a launcher that works in this process compose what its members share only once."""
    context = launcher.hydra_context
    launcher.hydra_context = HydraContext(MemberLoader(context.config_loader), context.callbacks)  # type: ignore[arg-type]
