"""What a sweep is going to run: its members, and which of them cannot be run, before the first one starts."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from coin_lightning.cli.member_configs import MemberConfigs, Words
from coin_lightning.cli.sweep_member import end_with_the_sweep
from coin_lightning.errors import ConfigError
from coin_lightning.quick_imports import importing

Check = Callable[[DictConfig, Path], bool]
"""From a member's config, resolved, and its folder to whether it is finished; raises what keeps it from being run."""


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

        What finds finished members imports nothing heavy; the rest of the check does, and this process does it for
        all that is forked from it.

        Args:
            members: their overrides.
            hydra: overrides of the sweep for Hydra itself.
            first: number of the first.
        """
        numbered = dict(zip(members, range(first, first + len(members)), strict=True))
        plan = cls(members)._looked_at(_is_finished, numbered, hydra)
        if plan.left:
            with importing():
                from coin_lightning.cli import run  # noqa: F401
                from coin_lightning.reporting.html import prepare_pages

                prepare_pages()
            plan = plan._looked_at(_can_be_run, {words: numbered[words] for words in plan.left}, hydra)
        return plan

    def _looked_at(self, check: Check, numbered: Mapping[Words, int], hydra: Sequence[str]) -> "SweepPlan":
        """With what is found out about some members."""
        impossible, folders, finished = dict(self.impossible), dict(self.folders), set(self.finished)
        for words, folder, done, problem in _found(check, numbered, hydra):
            if folder is not None:
                folders[words] = folder
            if done:
                finished.add(words)
            if problem is not None and self.count > 1:  # of one alone it is the run's own error
                impossible[words] = problem
        return replace(self, impossible=impossible, folders=folders, finished=frozenset(finished))

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


def own_finished(members: Sequence[Words], hydra: Sequence[str] = ()) -> frozenset[Words]:
    """Members whose folders hold finished runs of their own, whatever callbacks watched them.

    Args:
        members: their overrides.
        hydra: as of `SweepPlan.of`.
    """
    numbered = dict(zip(members, range(len(members)), strict=True))
    return SweepPlan(members)._looked_at(_has_finished, numbered, hydra).finished


def _found(
    check: Check, numbered: Mapping[Words, int], hydra: Sequence[str]
) -> Iterator[tuple[Words, Path | None, bool, str | None]]:
    context = multiprocessing.get_context("fork")  # what checking imports and builds stays out of the members' parent
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_look, args=(check, numbered, hydra, reader, writer))
    process.start()
    writer.close()
    try:
        while True:
            yield reader.recv()
    except EOFError:
        pass
    finally:  # also of a sweep that is stopped
        process.terminate()
        process.join()
        reader.close()


def _look(check: Check, numbered: Mapping[Words, int], hydra: Sequence[str], reader: Any, found: Any) -> None:
    """In the process of its own: for each member its folder, whether it is finished, and why it cannot be run."""
    end_with_the_sweep()
    reader.close()  # else what nobody reads any more would be waited for
    from coin_lightning.cli.build import resolve
    from coin_lightning.cli.ending import deliberate

    configs = MemberConfigs(hydra)
    for words, number in numbered.items():
        folder, done, problem = None, False, None
        try:
            config = configs(words)
            config.hydra.job.num, config.hydra.job.id = number, str(number)
            HydraConfig.instance().set_config(config)
            folder = Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir)).absolute()
            with open_dict(config):
                del config["hydra"]
            resolve(config)
            done = check(config, folder)
        except Exception as error:
            if (told := deliberate(error)) is not None:  # a bug is told by the member itself, with its traceback
                problem = str(told)
        found.send((words, folder, done, problem))


def _is_finished(config: DictConfig, folder: Path) -> bool:
    from coin_lightning.cli.build import check_early
    from coin_lightning.cli.finished import is_finished

    check_early(config)
    return is_finished(config, folder)


def _has_finished(config: DictConfig, folder: Path) -> bool:
    from coin_lightning.continual.run_dir import RunDir

    if not (folder / "matrix.json").is_file():
        return False
    run, resolved = RunDir.open(folder), OmegaConf.to_container(config, resolve=True)
    run.compare(resolved)  # type: ignore[arg-type]  # refuses that of another config
    return run.finished()


def _can_be_run(config: DictConfig, folder: Path) -> bool:
    from coin_lightning.cli.build import check_config

    check_config(config)
    return False  # as has been found before
