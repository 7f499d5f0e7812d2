"""One member of a sweep (`-m`), in a process of its own: one that fails neither ends nor colours the next.

That holds in the process of the sweep itself (Hydra's basic launcher) and in the workers of the others alike: what
is imported is paid once per worker, and no state of a run is left behind for the next.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from coin_lightning.cli.ending import ended
from coin_lightning.continual.interruption import STATUS, Interruption
from coin_lightning.errors import CoinLightningError, RefusedError
from coin_lightning.processes import die_with_parent

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
SWEEPERS = "hydra_plugins.coin_lightning."
RESERVE = 30.0
"""Seconds between SLURM's warning and the end of a job that are kept for putting it back into the queue."""


class MemberFailedError(CoinLightningError):
    """A member of a sweep has failed, or was stopped; the message says why.

    Attributes:
        refused: its folder holds a run of another config.
    """

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


def is_member() -> bool:
    """Whether this job is one of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def drawn_by_the_sweep() -> bool:
    """Whether the sweep draws the last page of this member, while the next one begins."""
    return _within_the_sweep() and str(HydraConfig.get().sweeper._target_).startswith(SWEEPERS)


def _within_the_sweep() -> bool:
    """Whether the process of the sweep starts the members itself."""
    return bool(HydraConfig.get().launcher._target_ == BASIC)


def end_with_the_sweep() -> None:
    """In a fork of a sweep: signals end it without a word, and a killed sweep leaves nothing behind."""
    for number in STATUS:
        signal.signal(number, signal.SIG_DFL)
    die_with_parent()


def run_member(work: Callable[[Interruption], object]) -> None:
    """Run one member. A signal that ends it, or the process that waits for it, ends both.

    Args:
        work: the run; see `ended`.

    Raises:
        MemberFailedError: it failed; or it was stopped, in a worker.
        SystemExit: with the status of the signal, in the process of the sweep.
    """
    context = multiprocessing.get_context("fork")  # this process only composes: no threads, no accelerator
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, writer))
    with handing_on(process) as received:
        process.start()
        writer.close()
        process.join()
    status: Any = process.exitcode
    number = next(iter(received), next((each for each in STATUS if status in (-each, STATUS[each])), None))
    if number is not None and _within_the_sweep():
        raise SystemExit(STATUS[number])
    if number is not None:
        raise MemberFailedError(f"stopped by {signal.Signals(number).name}; the same command goes on from here")
    if (failure := _failure(status, reader)) is not None:
        raise failure


def _work(work: Callable[[Interruption], object], reason: Connection) -> None:
    """In the member's process."""
    end_with_the_sweep()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # submitit's, whose handler in the worker ends this process

    def reported(interruption: Interruption) -> object:
        try:
            return work(interruption)
        except Exception as error:
            kind = "" if isinstance(error, CoinLightningError) else f"{type(error).__name__}: "
            reason.send((f"{kind}{str(error).strip() or 'without a message'}", isinstance(error, RefusedError)))
            raise

    sys.exit(ended(reported))


def _failure(status: int, reader: Connection) -> MemberFailedError | None:
    """Why a member failed; None when it did not."""
    if status == 0:
        return None
    try:
        return MemberFailedError(*reader.recv())
    except EOFError:
        return MemberFailedError(f"ended by signal {-status}" if status < 0 else f"exit status {status}")


def _patience() -> float | None:
    """Seconds that a member has for saving before its job must be put back into the queue; None: no limit is known."""
    delay = HydraConfig.get().launcher.get("signal_delay_s")
    return None if delay is None else max(0.0, delay - RESERVE)


@contextmanager
def handing_on(process: Any) -> Iterator[list[signal.Signals]]:
    """Ending signals go to the member; gives the list of those that came. It never outlives the block.

    Submitit's SIGUSR2 puts the job back into the queue, and SLURM ends a job at once that is put there: the member has
    saved and ended before, unless that takes until the end of the job's time.
    """
    received: list[signal.Signals] = []

    def hand_on(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        if process.is_alive():
            process.terminate()

    requeue: Any = signal.getsignal(signal.SIGUSR2)

    def save_first(number: int, frame: object) -> None:
        if process.is_alive():
            process.terminate()
            process.join(_patience())
        requeue(number, frame)

    before: dict[int, Any] = {number: signal.signal(number, hand_on) for number in STATUS}
    if callable(requeue):
        before[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, save_first)
    try:
        yield received
    except BaseException:  # of a launcher's own handler, such as submitit's behind requeueing
        process.terminate()
        process.join()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
