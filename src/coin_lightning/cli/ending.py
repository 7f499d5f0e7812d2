"""How every command ends: with its status, one red line for what a user can mend, or a traceback for what is a bug.

Status 0: done. 1: a wrong config, unusable data, a place that cannot be written to, with `error: ...` on stderr.
143, 130 and 129: it was asked to end, by SIGTERM or SIGUSR1, by Ctrl-C, by SIGHUP.
"""

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from coin_lightning import processes
from coin_lightning.cli.config_errors import GROUP_VALUE, explain
from coin_lightning.cli.places import unusable_place
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.interruption import Interruption, Stopped
from coin_lightning.errors import CoinLightningError, RunError, first_line, is_out_of_memory


def to_the_end(command: Callable[[], None]) -> None:
    """Run a whole command.

    A process that is connected with others leaves behind it with its exit handlers, but without the interpreter's own
    end. There gloo's threads may let go of a tensor when Python can no longer take it, which aborts a finished run; and
    a process that has failed would wait for operations that the others never join.
    """
    status = 0
    try:
        command()
    except SystemExit as left:
        if not processes.connected() or isinstance(left.code, str):
            raise
        status = int(left.code or 0)
    except BaseException:
        if not processes.connected():
            raise
        sys.excepthook(*sys.exc_info())
        status = 1
    if processes.connected():
        try:
            atexit._run_exitfuncs()
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):  # nobody reads it any more
                    stream.flush()
        finally:
            os._exit(status)


def ended(command: Callable[[Interruption], object], failure: int = 1) -> int:
    """Exit status of a command, after its last word.

    Args:
        command: gets the signals that ask the process to end. A number that it returns is its status, else that is 0.
        failure: status of a deliberate error.

    Raises:
        Exception: everything that is neither a deliberate error nor one of a place.
    """
    interruption = Interruption()
    try:
        with interruption:
            given = command(interruption)
        return given if isinstance(given, int) else 0
    except Stopped as stopped:
        print(stopped, file=sys.stderr, flush=True)
        return stopped.status
    except Exception as error:
        tell(error)
        return failure


def warn(console: Console, text: str) -> None:
    """Say in yellow what ends nothing."""
    console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def tell(error: Exception) -> None:
    """Say in a red line what is wrong.

    Raises:
        Exception: the error itself, when it is nothing that a user can mend; so it keeps its traceback.
    """
    told = deliberate(error)
    if told is None:
        raise error
    if not isinstance(told, processes.DecidedElsewhereError):  # the first process says it for all
        Console(stderr=True).print(f"error: {told}", style="red", markup=False, soft_wrap=True, highlight=False)


def deliberate(error: Exception) -> CoinLightningError | None:
    """An error in our words, if it is about a config, data or a place; None for a bug."""
    if isinstance(error, CoinLightningError):
        return error
    known = isinstance(error, HydraException | OmegaConfBaseException)
    if known or (isinstance(error, ValueError) and GROUP_VALUE in str(error)):
        return explain(error, conf_dir())
    if is_out_of_memory(error):  # while a task is learned or answered, `continual.out_of_memory` knows more
        return RunError(
            f"memory ran out ({first_line(error)}). `python -m coin_lightning estimate` with the same overrides says "
            "what is needed: take a smaller backbone, backbone.quantization=nf4 where it has it, another "
            "trainer.accelerator, or leave the machine more of its memory. What was finished is kept"
        )
    return unusable_place(error)  # last: some of Hydra's are OSErrors, too
