"""How a command ends when it is asked to: one line, and the status that schedulers know."""

import sys
from collections.abc import Callable

from coin_lightning.continual.interruption import Interruption, Stopped


def until_stopped(interruption: Interruption, command: Callable[[], int]) -> int:
    """Exit status of a command: its own, or 143 (SIGTERM, SIGUSR1) and 130 (Ctrl-C) when it was asked to end."""
    try:
        with interruption:
            return command()
    except Stopped as stopped:
        print(stopped, file=sys.stderr, flush=True)
        return stopped.status
