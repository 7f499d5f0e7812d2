"""What a sweep is going to run: its members, and which of them cannot be run, before the first one starts."""

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from coin_lightning.errors import ConfigError

CONFIG = "train"


@dataclass(frozen=True)
class SweepPlan:
    """Members of a sweep.

    Attributes:
        members: the overrides of each, in the order in which Hydra runs them.
        impossible: why some cannot be run, by their overrides.
    """

    members: Sequence[tuple[str, ...]]
    impossible: Mapping[tuple[str, ...], str]

    @property
    def count(self) -> int:
        """Of all members."""
        return len(self.members)

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "SweepPlan":
        """The plan of a command line; every member's config is composed and checked in a process of its own."""
        members = members_of(arguments)
        return cls(members, dict(_checked(members)) if len(members) > 1 else {})

    def own(self, words: Sequence[str]) -> list[str]:
        """The overrides of a member that not all members have."""
        common = set.intersection(*map(set, self.members)) if self.count > 1 else set()
        return [word for word in words if word not in common]

    def announce(self, console: Console, refuse: bool) -> None:
        """List the members that cannot be run.

        Raises:
            ConfigError: with the list, if that is to end the sweep.
        """
        if not self.impossible:
            return
        lines = [f"  {' '.join(self.own(words))}: {reason}" for words, reason in self.impossible.items()]
        told = "\n".join([f"{len(lines)} of {self.count} members cannot be run:", *lines])
        if refuse:
            raise ConfigError(f"{told}\nChange the values, or leave these out with sweep.impossible=skip")
        console.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)


def members_of(arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """Overrides of each member that a command line asks for, as Hydra's basic sweeper makes them."""
    given = get_args_parser().parse_args(list(arguments)).overrides
    parsed = OverridesParser.create().parse_overrides([word for word in given if not _of_hydra(word)])
    (batch,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [tuple(words) for words in batch]


def _of_hydra(word: str) -> bool:
    return word.lstrip("+~").startswith(("hydra.", "hydra/"))


def _checked(members: Sequence[tuple[str, ...]]) -> list[tuple[tuple[str, ...], str]]:
    context = multiprocessing.get_context("fork")  # what checking imports and builds stays out of the members' parent
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_check, args=(members, writer))
    process.start()
    writer.close()
    found: list[tuple[tuple[str, ...], str]] = []
    while True:
        try:
            found.append(reader.recv())
        except EOFError:
            break
    process.join()
    return found


def _check(members: Sequence[tuple[str, ...]], problems: Any) -> None:
    """In the process of its own."""
    from coin_lightning.cli.build import check_config
    from coin_lightning.cli.ending import deliberate

    for words in members:
        try:
            check_config(compose(CONFIG, overrides=list(words)))
        except Exception as error:
            if (told := deliberate(error)) is not None:  # a bug is told by the member itself, with its traceback
                problems.send((words, str(told)))
