"""Where Hydra looks for plugins: the sweepers of coin_lightning, which do their work in its `cli`."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class GridSweeper(BasicSweeper):
    """Every combination of the values, as Hydra's basic sweeper makes them; one that fails does not end the others."""

    def sweep(self, arguments: list[str]) -> Any:
        """Hydra's hook."""
        from coin_lightning.cli.sweep import sweep_grid

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (batch,) = self.split_arguments(parser.parse_overrides([*self._parse_config(), *arguments]), None)
        sweep_grid(self.config, self.launcher.launch, [tuple(words) for words in batch], self.max_batch_size)
