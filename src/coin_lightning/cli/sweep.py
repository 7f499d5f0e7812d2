"""The members of a sweep (`-m`), each in a process of its own: one that fails neither ends nor colours the next.

Only for Hydra's basic launcher, which runs members one after the other in its own process; others have workers. Before
the first one starts all are looked at, and those that cannot be run are told; behind each the sweep's page is written.
"""

import ctypes
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from coin_lightning import processes
from coin_lightning.cli.ending import ended
from coin_lightning.cli.sweep_plan import SweepPlan
from coin_lightning.continual.interruption import STATUS, Interruption
from coin_lightning.errors import CoinLightningError, ConfigError
from coin_lightning.reporting.names import duration

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
RECOGNISED = 3.0
"""Seconds: a member that takes less was finished before, and says nothing of the time that others take."""
DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux' prctl."""


class Sweep:
    """Members that have run, and why some failed."""

    def __init__(self) -> None:
        self.members: list[tuple[list[str], str | None]] = []
        self.folders: dict[tuple[str, ...], Path] = {}
        self.plan: SweepPlan | None = None
        self._place = Path()
        self._seconds: list[float] = []

    def member(self, work: Callable[[Interruption], object], config: DictConfig, folder: Path) -> None:
        """Run one member and keep how it ended. A signal that ends it, or the sweep, ends both.

        Args:
            work: the run; see `ended`.
            config: its config.
            folder: its run folder.

        Raises:
            ConfigError: before the first one: some cannot be run, and `sweep.impossible` is `refuse`.
            SystemExit: with the status of the signal.
        """
        words = list(HydraConfig.get().overrides.task)
        if self.plan is None:
            self.plan = SweepPlan.of(sys.argv[1:])
            self.plan.announce(Console(stderr=True), refuse=config.sweep.impossible == "refuse")
        if reason := self.plan.impossible.get(tuple(words)):
            self.members.append((words, reason))
            return
        self._say(words)
        started = time.monotonic()
        try:
            self._run(work, words)
        finally:
            self._seconds.append(time.monotonic() - started)
            self.folders[tuple(words)], self._place = folder, Path(HydraConfig.get().sweep.dir)
            if self._seconds[-1] > RECOGNISED:
                self._write_page()

    def _say(self, words: Sequence[str]) -> None:
        """Which member begins, and about how long the rest takes."""
        assert self.plan is not None
        number, told = len(self.members) + 1, " ".join(self.plan.own(words))
        worked = [seconds for seconds in self._seconds if seconds > RECOGNISED]
        left = self.plan.count - number + 1
        rest = f", about {duration(left * sum(worked) / len(worked))} left" if worked else ""
        line = f"member {number} of {self.plan.count}{rest}: {told}"
        Console(stderr=True).print(line, style="bold", markup=False, highlight=False, soft_wrap=True)

    def _write_page(self) -> None:
        from coin_lightning.cli.sweep_results import write_page

        assert self.plan is not None
        given = self._place, self.folders, self.plan, dict(self._failed())
        drawing = multiprocessing.get_context("fork").Process(target=write_page, args=given)  # as members: no threads
        drawing.start()
        drawing.join()

    def _failed(self) -> list[tuple[tuple[str, ...], str]]:
        return [(tuple(words), reason) for words, reason in self.members if reason is not None]

    def _run(self, work: Callable[[Interruption], object], words: list[str]) -> None:
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
        self.members.append((words, _reason(status, reader)))

    def conclude(self, console: Console) -> int:
        """The table of all runs; then which members failed and why. Returns the exit status, 1 where one failed."""
        if self.plan is None:
            return 0
        if self.folders:
            from coin_lightning.cli.sweep_results import show_table

            self._write_page()
            show_table(list(self.folders.values()))
        skipped = [each for each in self._failed() if each[0] in self.plan.impossible]
        failed = [each for each in self._failed() if each[0] not in self.plan.impossible]
        self._list(
            console, f"{len(skipped)} of {len(self.members)} members could not be run and were skipped:", skipped
        )
        self._list(console, f"{len(failed)} of {len(self.members)} members of the sweep failed:", failed)
        return int(bool(failed))

    def _list(self, console: Console, head: str, members: Sequence[tuple[Sequence[str], str]]) -> None:
        assert self.plan is not None
        lines = [f"  {' '.join(self.plan.own(words))}: {reason}" for words, reason in members]
        if lines:
            console.print("\n".join([head, *lines]), style="red", markup=False, soft_wrap=True, highlight=False)


def is_multirun() -> bool:
    """Whether this job is one of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def is_member() -> bool:
    """Whether this job is one of a sweep that runs in this process."""
    return is_multirun() and HydraConfig.get().launcher._target_ == BASIC


def refuse_ranks() -> None:
    """A process that torchrun or srun has started together with others must not sweep.

    Raises:
        ConfigError: it would.
    """
    if not processes.alone() and (cluster := processes.cluster()) is not None and cluster.world_size() > 1:
        raise ConfigError(
            f"-m in a job of {cluster.world_size()} processes: each would run the whole sweep. Start one job for each "
            "member, or sweep from one process with trainer.devices=1"
        )


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
