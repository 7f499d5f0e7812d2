"""What a sweep is going to run: its members, and which of them cannot be run, before the first one starts."""

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict
from rich.console import Console

from coin_lightning.cli.member_configs import MemberConfigs, Words
from coin_lightning.errors import ConfigError


@dataclass(frozen=True)
class SweepPlan:
    """Members of a sweep.

    Attributes:
        members: the overrides of each, in the order in which they run.
        impossible: why some cannot be run, by their overrides.
        folders: run folder of each whose config composes.
        finished: those with nothing left to do.
        keys: what is swept, where the members alone would not tell, as the first ones of a search.
    """

    members: Sequence[Words]
    impossible: Mapping[Words, str] = field(default_factory=dict)
    folders: Mapping[Words, Path] = field(default_factory=dict)
    finished: frozenset[Words] = frozenset()
    keys: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Of all members."""
        return len(self.members)

    @property
    def left(self) -> list[Words]:
        """Members that are to be run."""
        return [words for words in self.members if words not in self.impossible and words not in self.finished]

    @classmethod
    def of(cls, members: Sequence[Words], hydra: Sequence[str] = (), first: int = 0) -> "SweepPlan":
        """The plan of these members; every config is composed and checked in a process of its own.

        Args:
            members: their overrides.
            hydra: overrides of the sweep for Hydra itself.
            first: number of the first.
        """
        impossible: dict[Words, str] = {}
        folders: dict[Words, Path] = {}
        finished: set[Words] = set()
        for words, folder, done, problem in _looked_at(members, hydra, first):
            if folder is not None:
                folders[words] = folder
            if done:
                finished.add(words)
            if problem is not None and len(members) > 1:  # of one alone it is the run's own error
                impossible[words] = problem
        return cls(members, impossible, folders, frozenset(finished))

    def joined(self, other: "SweepPlan") -> "SweepPlan":
        """The members of both."""
        return SweepPlan(
            [*self.members, *other.members],
            {**self.impossible, **other.impossible},
            {**self.folders, **other.folders},
            self.finished | other.finished,
            self.keys,
        )

    def own(self, words: Sequence[str]) -> list[str]:
        """The overrides of a member that not all members have."""
        if self.keys:
            return [word for word in words if word.partition("=")[0] in self.keys]
        common = set.intersection(*map(set, self.members)) if self.count > 1 else set()
        return [word for word in words if word not in common]

    def announce(self, console: Console, refuse: bool) -> None:
        """List the members that cannot be run, and say how many are finished.

        Raises:
            ConfigError: with the list, if that is to end the sweep.
        """
        if self.impossible:
            lines = [f"  {' '.join(self.own(words))}: {reason}" for words, reason in self.impossible.items()]
            told = "\n".join([f"{len(lines)} of {self.count} members cannot be run:", *lines])
            if refuse:
                raise ConfigError(f"{told}\nChange the values, or leave these out with sweep.impossible=skip")
            console.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)
        if self.finished:
            console.print(f"{len(self.finished)} of {self.count} members are finished", style="bold", highlight=False)


def _looked_at(
    members: Sequence[Words], hydra: Sequence[str], first: int
) -> list[tuple[Words, Path | None, bool, str | None]]:
    context = multiprocessing.get_context("fork")  # what checking imports and builds stays out of the members' parent
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_look, args=(members, hydra, first, writer))
    process.start()
    writer.close()
    found: list[tuple[Words, Path | None, bool, str | None]] = []
    while True:
        try:
            found.append(reader.recv())
        except EOFError:
            break
    process.join()
    return found


def _look(members: Sequence[Words], hydra: Sequence[str], first: int, found: Any) -> None:
    """In the process of its own: for each member its folder, whether it is finished, and why it cannot be run."""
    from coin_lightning.cli.build import check_config
    from coin_lightning.cli.ending import deliberate
    from coin_lightning.cli.finished import is_finished

    configs = MemberConfigs(hydra)
    for number, words in enumerate(members, start=first):
        folder, done, problem = None, False, None
        try:
            config = configs(words)
            config.hydra.job.num = number
            HydraConfig.instance().set_config(config)
            folder = Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir)).absolute()
            with open_dict(config):
                del config["hydra"]
            check_config(config)
            done = is_finished(config, folder)
        except Exception as error:
            if (told := deliberate(error)) is not None:  # a bug is told by the member itself, with its traceback
                problem = str(told)
        found.send((words, folder, done, problem))
