"""Where Hydra looks for plugins: the sweepers of coin_lightning, which do their work in its `cli`."""

from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override


class GridSweeper(BasicSweeper):
    """Every combination of the values, as Hydra's basic sweeper makes them; one that fails does not end the others."""

    def sweep(self, arguments: list[str]) -> Any:
        """Hydra's hook."""
        from coin_lightning.cli.member_configs import share_composing
        from coin_lightning.cli.sweep import sweep_grid

        assert self.launcher is not None
        if isinstance(self.launcher, BasicLauncher):
            share_composing(self.launcher)
        (batch,) = self.split_arguments(self.parsed(arguments), None)
        sweep_grid(self.config, self.launcher.launch, [tuple(words) for words in batch], self.max_batch_size)

    def parsed(self, arguments: list[str]) -> list[Override]:
        """Overrides of the command line, behind those of `hydra.sweeper.params`."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return parser.parse_overrides([*self._parse_config(), *arguments])


class OptunaSweeper(GridSweeper):
    """Optuna chooses the members; its options are read from the config."""

    def __init__(self, params: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Hydra's hook."""
        from coin_lightning.cli.sweep_optuna import sweep_optuna

        assert self.launcher is not None
        sweep_optuna(self.config, self.launcher.launch, self.parsed(arguments))
