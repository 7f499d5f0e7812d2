"""How a command ends when it is asked to: one line, and the status that schedulers know."""

import sys
from collections.abc import Callable

from coin_lightning.continual.interruption import Interruption, Stopped


def until_stopped(interruption: Interruption, command: Callable[[], object]) -> int:
    """Exit status of a command: what it gives if that is a number, else 0; when it was asked to end 143 (SIGTERM,
    SIGUSR1) or 130 (Ctrl-C)."""
    try:
        with interruption:
            given = command()
        return given if isinstance(given, int) else 0
    except Stopped as stopped:
        print(stopped, file=sys.stderr, flush=True)
        return stopped.status
