"""`python -m coin_lightning [train] OVERRIDES...`: train through a scenario, evaluate after every task, report.

Here is what must answer at once: Hydra's help, a wrong config, a run that is finished. Only Hydra, OmegaConf, rich,
pydantic and modules without a model are imported for that; what trains is in `run`.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from coin_lightning.cli import objective
from coin_lightning.cli.build import check_early, resolve
from coin_lightning.cli.config_errors import understood
from coin_lightning.cli.ending import ended
from coin_lightning.cli.finished import is_finished
from coin_lightning.cli.sweep_member import drawn_by_the_sweep, is_member, run_member
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.interruption import Interruption
from coin_lightning.quick_imports import importing
from coin_lightning.reporting.terminal import final_summary


def train(config: DictConfig, run_path: Path, interruption: Interruption) -> None:
    """Run or continue the sequence, or show what a finished run has found.

    Args:
        config: composed.
        run_path: the run folder.
        interruption: signals that ask the process to end.

    Raises:
        CoinLightningError: a wrong config, unusable data, missing assets, or a run folder of another config.
    """
    resolve(config)
    check_early(config)
    if is_finished(config, run_path):
        Console().print(final_summary(run_path))
        return
    with importing():
        from coin_lightning.cli import run

    run.train(config, run_path, interruption)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def _composed(config: DictConfig) -> Any:
    folder = Path(HydraConfig.get().runtime.output_dir)
    if is_member():
        with importing():
            from coin_lightning.cli import run  # once: the members of a sweep are forks of this process

        # its plan has found that it is not finished
        run_member(partial(run.train, config, folder, last_page=not drawn_by_the_sweep()))
        return objective.found(config, folder)  # for sweepers
    if status := ended(partial(train, config, folder)):  # here, because Hydra would announce an error itself
        sys.exit(status)
    return None


def main() -> None:
    """Command line; exits with a status as `ending` explains them.

    A member of a sweep that fails does not keep the others from running; the status is 1 when all are done.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, and those of the code keep their traceback
    sys.argv[1:] = understood(sys.argv[1:])
    if status := ended(lambda interruption: _composed()):
        sys.exit(status)
