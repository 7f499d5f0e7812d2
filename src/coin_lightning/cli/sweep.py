"""The members of a sweep (`-m`), each in a process of its own: one that fails neither ends nor colours the next.

Only for Hydra's basic launcher, which runs members one after the other in its own process; others have workers.
"""

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from rich.console import Console

from coin_lightning.cli.ending import ended
from coin_lightning.continual.interruption import STATUS, Interruption
from coin_lightning.errors import CoinLightningError

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux' prctl."""


class Sweep:
    """Members that have run, and why some failed."""

    def __init__(self) -> None:
        self.members: list[tuple[list[str], str | None]] = []

    def member(self, work: Callable[[Interruption], object]) -> None:
        """Run one member and keep how it ended. A signal that ends it, or the sweep, ends both.

        Args:
            work: the run; see `ended`.

        Raises:
            SystemExit: with the status of the signal.
        """
        context = multiprocessing.get_context("fork")  # this process only composes: no threads, no accelerator
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(work, writer))
        with _handing_on(process) as received:
            process.start()
            writer.close()
            process.join()
        status: Any = process.exitcode
        number = next(iter(received), next((each for each in STATUS if status in (-each, STATUS[each])), None))
        if number is not None:
            raise SystemExit(STATUS[number])
        self.members.append((list(HydraConfig.get().overrides.task), _reason(status, reader)))

    def conclude(self, console: Console) -> int:
        """Say which members failed and why, if any did; returns the exit status."""
        failed = [(words, reason) for words, reason in self.members if reason is not None]
        if not failed:
            return 0
        common = set.intersection(*(set(words) for words, _ in self.members))
        lines = [f"{len(failed)} of {len(self.members)} members of the sweep failed:"]
        lines += [f"  {' '.join(word for word in words if word not in common)}: {reason}" for words, reason in failed]
        console.print("\n".join(lines), style="red", markup=False, soft_wrap=True, highlight=False)
        return 1


def is_member() -> bool:
    """Whether this job is one of a sweep that runs in this process."""
    hydra = HydraConfig.get()
    return hydra.mode == RunMode.MULTIRUN and hydra.launcher._target_ == BASIC


def _work(work: Callable[[Interruption], object], reason: Connection) -> None:
    """In the member's process."""
    for number in STATUS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGTERM)  # a killed sweep leaves no member behind

    def reported(interruption: Interruption) -> object:
        try:
            return work(interruption)
        except Exception as error:
            kind = "" if isinstance(error, CoinLightningError) else f"{type(error).__name__}: "
            reason.send(f"{kind}{str(error).strip() or 'without a message'}")
            raise

    sys.exit(ended(reported))


def _reason(status: int, reader: Connection) -> str | None:
    """Why a member failed; None when it did not."""
    if status == 0:
        return None
    try:
        return str(reader.recv())
    except EOFError:
        return f"ended by signal {-status}" if status < 0 else f"exit status {status}"


@contextmanager
def _handing_on(process: Any) -> Iterator[list[signal.Signals]]:
    """Ending signals go to the member; gives the list of those that came."""
    received: list[signal.Signals] = []

    def hand_on(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        if process.is_alive():
            process.terminate()

    before = {number: signal.signal(number, hand_on) for number in STATUS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
