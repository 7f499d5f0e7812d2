"""A sweep (`-m`): its members by whatever launcher, how each ended, and what is shown of them.

Before the first one starts all are looked at: those that cannot be run are told, finished ones are left alone. Hydra's
basic launcher gets one member after the other, behind each of which its last page and the sweep's are drawn, while the
next one begins; the others, which work in parallel, get all of them at once (`hydra.sweeper.max_batch_size` at once).
"""

import multiprocessing
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from coin_lightning import processes
from coin_lightning.cli.member_configs import Words
from coin_lightning.cli.sweep_jobs import lost_alone
from coin_lightning.cli.sweep_member import BASIC, end_with_the_sweep
from coin_lightning.cli.sweep_plan import SweepPlan, own_finished
from coin_lightning.continual.interruption import STATUS
from coin_lightning.errors import CoinLightningError, ConfigError
from coin_lightning.reporting.names import duration

NUMBERED = re.compile(r"hydra:job\.(num|id)\b|hydra\.job\.(num|id)\b")
Launch = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]
"""Hydra's `Launcher.launch`: overrides of some members, and the number of the first."""


class Sweep:
    """Members that have run, and why some failed.

    Args:
        config: of the sweep, with Hydra's part.
        launch: of the launcher.
        keys: of `SweepPlan`.

    Attributes:
        failed: why, by their overrides.
        pruned: why, of those that Optuna has ended early.
        refused: those of `failed` whose folders hold runs of other configs.
    """

    def __init__(self, config: DictConfig, launch: Launch, keys: Sequence[str] = ()) -> None:
        self.plan = SweepPlan([], keys=tuple(keys))
        self.failed: dict[Words, str] = {}
        self.pruned: dict[Words, str] = {}
        self.refused: set[Words] = set()
        self._place, self._launch = Path(config.hydra.sweep.dir), launch
        self._hydra: Any = OmegaConf.to_container(config.hydra.overrides.hydra)  # as typed: read singly they resolve
        self._refuse, self._console = config.sweep.impossible == "refuse", Console(stderr=True)
        self._launcher = str(config.hydra.launcher._target_)
        self._one_by_one = self._launcher == BASIC
        self._refuse_numbered(str(OmegaConf.to_container(config.hydra.sweep)))
        self._begun: set[Words] = set()
        self._drawn: list[Path] = []
        self._seconds: list[float] = []
        self._drawing: Any = None

    def _refuse_numbered(self, folders: str) -> None:
        """A launcher that gets several members numbers them on from the first: with one left out in between, the folder
        of a number is no longer that of the member that the plan has there."""
        if not self._one_by_one and NUMBERED.search(folders):
            raise ConfigError(
                "hydra.sweep: folders named after hydra.job.num or hydra.job.id belong to other members as soon as one "
                "is finished or cannot be run; name them after their values, as hydra.sweep.subdir does by default, or "
                "use hydra/launcher=basic"
            )

    def know(self, members: Sequence[Words]) -> None:
        """Show members that an earlier start has run together with the others."""
        self.plan = self.plan.joined(SweepPlan.of(members, self._hydra, self.plan.count))
        self._begun.update(members)

    def run(self, members: Sequence[Words], at_once: int | None = None) -> None:
        """Run more members.

        Args:
            members: their overrides.
            at_once: so many that the launcher gets at a time; None: all.

        Raises:
            ConfigError: before the first one: some cannot be run, and `sweep.impossible` is `refuse`; or the launcher
                could not start any.
        """
        added = SweepPlan.of(members, self._hydra, self.plan.count)
        added.announce(self._console, self._refuse)
        self.plan = self.plan.joined(added)
        self._begun |= added.finished
        left = added.left
        while left:
            batch = self._next(left, 1 if self._one_by_one else at_once or len(left))
            self._run(batch, len(left))
            left = [words for words in left if words not in batch]

    def _next(self, left: Sequence[Words], size: int) -> list[Words]:
        """The next members to be run at once. Two that differ only in what changes no result have one folder, and it
        is not for both at a time.
        """
        firsts: dict[object, Words] = {}
        for words in left:
            firsts.setdefault(self.plan.folders.get(words, words), words)
        return list(firsts.values())[:size]

    def _run(self, batch: Sequence[Words], left: int) -> None:
        numbers = {words: self.plan.members.index(words) for words in batch}
        for words in batch:
            self._say(words, numbers[words] + 1, left)
        if any(self.plan.folders.get(words) in self._drawn for words in batch):  # the same run by other words
            self._wait_for_pages()
        started = time.monotonic()
        try:
            with lost_alone(self._launcher):
                jobs = self._launch([list(words) for words in batch], numbers[batch[0]])
            # with `${now:...}` in its name, a folder is another one than was planned
            ran = {
                words: Path(job.hydra_cfg.hydra.runtime.output_dir)
                for words, job in zip(batch, jobs, strict=True)
                if job.hydra_cfg is not None
            }
            self.plan = replace(self.plan, folders={**self.plan.folders, **ran})
            for words, job in zip(batch, jobs, strict=True):
                if job.status == JobStatus.FAILED:
                    self.failed[words] = _told(job._return_value)
                    self.refused |= {words} if getattr(job._return_value, "refused", False) else set()
        except Exception as error:
            self._without_launcher(batch, error)
        finally:
            self._begun.update(batch)
            self._seconds.append(time.monotonic() - started)
            self._draw(batch)

    def _without_launcher(self, batch: Sequence[Words], error: Exception) -> None:
        """A launcher has given up, as when a worker of it was killed: the folders say what became of each member."""
        folders = {words: self.plan.folders[words] for words in batch if words in self.plan.folders}
        if not any((folder / "config.yaml").is_file() for folder in folders.values()):
            raise ConfigError(f"hydra/launcher: no member could be started: {_told(error)}") from error
        done = own_finished(batch, self._hydra)
        for words in batch:
            if words not in done:
                self.failed[words] = f"its launcher gave up: {_told(error)}"

    def _say(self, words: Words, number: int, left: int) -> None:
        """Which member begins, and about how long the rest takes."""
        known = self._one_by_one and self._seconds
        rest = f", about {duration(left * sum(self._seconds) / len(self._seconds))} left" if known else ""
        line = f"member {number} of {self.plan.count}{rest}: {' '.join(self.plan.own(words))}"
        self._console.print(line, style="bold", markup=False, highlight=False, soft_wrap=True)

    def _own_folders(self) -> dict[Words, Path]:
        """Of members by their words, but for those that another config's run lies in: its numbers are not theirs."""
        folders = self.plan.folders
        return {words: folders[words] for words in self.plan.members if words in folders and words not in self.refused}

    def _draw(self, batch: Sequence[Words] = (), notes: Sequence[str] = ()) -> None:
        """Begin to draw the last pages of members that leave them to the sweep, and the sweep's."""
        self._wait_for_pages()
        own = self._own_folders()
        known = {words: folder for words, folder in own.items() if words in self._begun}
        self._drawn = [own[words] for words in batch if words in own] if self._one_by_one else []
        given = self._drawn, self._place, known, self.plan, self.failed, notes
        self._drawing = multiprocessing.get_context("fork").Process(target=_draw, args=given)  # as members: no threads
        self._drawing.start()

    def _wait_for_pages(self) -> None:
        if self._drawing is None:
            return
        self._drawing.join()
        if self._drawing.exitcode and -self._drawing.exitcode not in STATUS:
            self._console.print(
                "pages of the sweep could not be written, for the reason above; the same command tries it again",
                style="yellow", markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
        self._drawing, self._drawn = None, []

    def conclude(self, notes: Sequence[str] = ()) -> int:
        """The table of all runs; then which members failed and why. Returns the exit status, 1 where one failed or none
        could be run.

        Args:
            notes: lines for the page and the terminal.
        """
        from coin_lightning.cli.sweep_results import page_of, show_table

        if notes or not self._seconds:
            self._draw(notes=notes)
        self._wait_for_pages()
        folders = list(dict.fromkeys(self._own_folders().values()))  # members that are one run have one folder
        show_table(folders, page_of(self._place, self.plan))
        impossible, count = self.plan.impossible, self.plan.count
        self._list(f"{len(impossible)} of {count} members could not be run and were skipped:", impossible)
        self._list(f"{len(self.pruned)} of {count} members were ended early:", self.pruned, "yellow")
        self._list(f"{len(self.failed)} of {count} members of the sweep failed:", self.failed)
        if notes:
            self._console.print("\n".join(notes), style="bold", markup=False, soft_wrap=True, highlight=False)
        return int(bool(self.failed) or len(impossible) == count > 0)

    def _list(self, head: str, members: Mapping[Words, str], style: str = "red") -> None:
        lines = [f"  {' '.join(self.plan.own(words))}: {reason}" for words, reason in members.items()]
        if lines:
            told = "\n".join([head, *lines])
            self._console.print(told, style=style, markup=False, soft_wrap=True, highlight=False)


def _draw(runs: Sequence[Path], *sweep: Any) -> None:
    """In a process of its own."""
    from coin_lightning.cli.run import draw
    from coin_lightning.cli.sweep_results import write_page

    end_with_the_sweep()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the member that is running
    try:
        for folder in runs:
            if (folder / "matrix.json").is_file():
                draw(folder)
    finally:
        write_page(*sweep)


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


def sweep_grid(config: DictConfig, launch: Launch, members: Sequence[Words], at_once: int | None) -> None:
    """All members of a grid.

    Raises:
        ConfigError: as `refuse_ranks` and `Sweep.run`.
        SystemExit: some failed.
    """
    refuse_ranks()
    sweep = Sweep(config, launch)
    sweep.run(members, at_once)
    if status := sweep.conclude():
        sys.exit(status)


def _told(error: BaseException) -> str:
    text = str(error).strip() or "without a message"
    return text if isinstance(error, CoinLightningError) else f"{type(error).__name__}: {text}"
