"""`python -m coin_lightning runs [FOLDER ...]`: what lies there, how far it is, and what it found."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from coin_lightning.cli.ending import ended, warn
from coin_lightning.cli.parsers import runs_parser
from coin_lightning.cli.runs_table import show
from coin_lightning.continual.interruption import STATUS
from coin_lightning.continual.run_dir import COMMAND, RunDir
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.quick_imports import importing
from coin_lightning.reporting.names import bytes_size
from coin_lightning.reporting.wandb_files import parts_of
from coin_lightning.reporting.wandb_history import is_open
from coin_lightning.results import Entry, describe, files_below, find_runs
from coin_lightning.run_files import read_config, read_json
from coin_lightning.trust import is_signed

UNFINISHED = ("failed", "stopped")
WEIGHTS = ("adapter", "method_state.safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 where a folder does not exist or a run that was started again failed."""
    options = runs_parser().parse_args(arguments)
    console = Console()
    return ended(lambda interruption: runs(options.folders, options.rerun_failed, options.prune, options.yes, console))


def runs(folders: Sequence[Path], rerun: bool, prune: bool, yes: bool, console: Console) -> int:
    """Show the table; then start runs again, or remove what nothing needs.

    Raises:
        RunError: a folder does not exist. ConfigError: `yes` without `prune`.
    """
    if yes and not prune:
        raise ConfigError("--yes goes with --prune")
    entries = [describe(run) for run in find_runs(folders)]
    if not entries:
        raise RunError(f"{', '.join(map(str, folders))}: there is no run below")
    show(entries, console)
    if prune:
        _prune(entries, yes, console)
    return _rerun(entries, console) if rerun else 0


def _rerun(entries: Sequence[Entry], console: Console) -> int:
    status = 0
    for entry in (entry for entry in entries if entry.state in UNFINISHED):
        file = entry.path / COMMAND
        if not is_signed(file):  # the command of a stranger could run any code
            why = "was not written by you on this machine" if file.is_file() else "is missing"
            told = f"{entry.path}: nobody knows its command ({COMMAND} {why}); give it by hand"
            warn(console, told)
            status = 1
            continue
        kept = read_json(file)
        console.print(f"again: {entry.path}", markup=False, highlight=False, soft_wrap=True)
        with importing():
            from coin_lightning.cli import run  # noqa: F401  (once: the runs are forks of this process)
            from coin_lightning.cli.sweep_member import handing_on
        again = multiprocessing.get_context("fork").Process(target=_again, args=(kept,))
        with handing_on(again) as received:
            again.start()
            again.join()
        if received:  # the run has saved and ended
            return STATUS[received[0]]
        status = max(status, int(again.exitcode != 0))
    return status


def _again(kept: dict[str, Any]) -> None:
    """Give a command that was kept, in a process of its own."""
    from coin_lightning.cli import commands

    for number in STATUS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(kept["folder"])
    own = ["", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # as Python itself starts there
    sys.path[:0] = map(os.path.abspath, own)
    sys.argv[1:] = kept["arguments"]
    commands.main()


def _prune(entries: Sequence[Entry], yes: bool, console: Console) -> None:
    freed = 0
    for entry in (entry for entry in entries if entry.state == "finished" and entry.path.is_dir()):
        if is_open(entry.path):
            warn(console, f"{entry.path}: W&B has not got all of it yet; first give its command again")
            continue
        if _waits_for_sync(entry):
            told = f"{entry.path}: W&B has not got its adapters yet; first wandb sync logs/wandb/offline-run-*"
            warn(console, told)
            continue
        files = list(unneeded(entry))
        try:
            with RunDir.open(entry.path).working():  # an evaluation may be about to load them
                size = sum(file.stat().st_size for file in files)
                for file in files if yes else ():
                    file.unlink()
        except RunError as error:
            warn(console, str(error))
            continue
        freed += size
        if files:
            what = f"{entry.path}: {bytes_size(size)} of adapters and states of all experiences but the last"
            console.print(what, markup=False, highlight=False, soft_wrap=True)
    told = f"{bytes_size(freed)} {'freed' if yes else 'would be freed; add --yes to remove it'}"
    console.print(told if freed else "nothing to remove", markup=False, highlight=False)


def _waits_for_sync(entry: Entry) -> bool:
    """Whether adapters are to be uploaded: an offline run of W&B names them where they lie."""
    parts = [part for part in parts_of(entry.path / "logs" / "wandb") if part.parent.name.startswith("offline-")]
    if all(part.with_name(f"{part.name}.synced").exists() for part in parts):
        return False
    logger = read_config(entry.path).get("logger", {}).get("wandb", {})
    return bool(logger.get("artifacts", True))


def unneeded(entry: Entry) -> Iterator[Path]:
    """Files of a finished run that neither its results nor further training need."""
    assert entry.matrix is not None
    run = RunDir(entry.path, entry.matrix.tasks, entry.matrix.training)
    for position in run.positions[:-1]:
        for name in WEIGHTS:
            if (run.folder(position) / name).exists():
                yield from files_below(run.folder(position) / name)
