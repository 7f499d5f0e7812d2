"""`python -m coin_lightning dashboard PROJECT`: a workspace and a report of a W&B project, with forgetting curves."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from rich.console import Console

from coin_lightning.cli.ending import ended
from coin_lightning.cli.parsers import dashboard_parser
from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.errors import ConfigError
from coin_lightning.reporting.wandb_service import answers, is_logged_in, server

PACKAGE = "wandb_workspaces"
TIMEOUT = 5.0
"""Seconds that the server has to accept a connection."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = dashboard_parser().parse_args(arguments)
    tasks = options.tasks.split(",") if options.tasks else list(task_nodes(conf_dir()))
    return ended(lambda interruption: dashboard(options.project, options.entity, tasks, Console()))


def dashboard(project: str, entity: str | None, tasks: Sequence[str], console: Console) -> None:
    """Save both, and say where they are.

    Args:
        project: of W&B.
        entity: team or user; None: the default of who is logged in.
        tasks: keys of the tasks whose curves are shown.
        console: for the addresses.

    Raises:
        ConfigError: the extra is not installed, nobody is logged in, or the server does not answer or does not take it.
    """
    check_service()
    import wandb

    from coin_lightning.reporting.wandb_workspace import report, workspace

    owner = entity or _asked(lambda: wandb.Api().default_entity)
    if not owner:
        raise ConfigError(f"{server()}: names no default entity; give --entity TEAM")
    for name, make in (("workspace", workspace), ("report", report)):
        made = make(project, owner, tasks)
        _asked(made.save)
        console.print(f"{name:10} {made.url}", markup=False, highlight=False, soft_wrap=True)


def _asked(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # whatever a service or its client raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{server()}: does not make the dashboard: {reason}") from error


def check_service() -> None:
    """See that the dashboard can be saved.

    Raises:
        ConfigError: it cannot.
    """
    if find_spec(PACKAGE) is None:
        raise ConfigError("dashboard needs the package wandb-workspaces: pip install 'coin-lightning[dashboard]'")
    if not is_logged_in():
        raise ConfigError(f"W&B knows no key for {server()}: wandb login, or set WANDB_API_KEY")
    if not answers(server(), TIMEOUT):
        raise ConfigError(
            f"{server()}: does not answer; a dashboard needs the server. Runs that were logged offline come there by "
            "wandb sync RUN/logs/wandb/offline-run-* once it does"
        )
