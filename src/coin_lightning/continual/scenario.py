"""`Scenario`: instruction tasks in an order. `Experience`: a task at a position."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from coin_lightning.backbones.base import Backbone
from coin_lightning.errors import ConfigError, DataError, did_you_mean
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.usable_references import unusable
from coin_lightning.metrics.score_matrix import ZERO_SHOT
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.joint import JointTask
from coin_lightning.tasks.options import BatchOptions


@dataclass(frozen=True)
class Experience:
    """Position `position` of a scenario: 0 is zero-shot and has no task to learn."""

    position: int
    task: InstructionTask | None
    folder: Path
    resume_from: Path | None = None
    trained: bool = False

    @property
    def name(self) -> str:
        """Name of the task, or `zero_shot`."""
        return self.task.name if self.task else ZERO_SHOT


def ordered(names: Sequence[str], order: str | Sequence[str], seed: int) -> list[str]:
    """Names in the wanted order.

    Args:
        names: in CoIN's order.
        order: `coin`, `alphabetical`, `reversed`, `random` (drawn with `seed`), or a list of names; it may leave some
            out.

    Raises:
        ConfigError: an unknown order or name, a name twice, or no name.
    """
    if isinstance(order, str):
        known = {"coin": list(names), "alphabetical": sorted(names), "reversed": list(reversed(names))}
        if order == "random":
            return random.Random(seed).sample(list(names), len(names))
        if order not in known:
            known_names = f"coin, alphabetical, reversed, random or a list of {', '.join(names)}"
            raise ConfigError(f"scenario.order={order!r} is unknown; use {known_names}")
        return known[order]
    if not order:
        raise ConfigError(f"scenario.order=[]: names no task; give one at least of {', '.join(names)}")
    for wrong in (name for name in order if name not in names):
        near = did_you_mean(str(wrong), names) or f"choose from {', '.join(names)}"
        raise ConfigError(f"scenario.order={list(order)}: there is no task {wrong!r}; {near}")
    for twice in (name for name in names if list(order).count(name) > 1):
        raise ConfigError(f"scenario.order={list(order)}: has {twice} more than once; name each task once")
    return list(order)


class Scenario:
    """Tasks in the order in which they are learned.

    Args:
        name: shown in reports.
        tasks: by name, in CoIN's order.
        order: see `ordered`.
        order_seed: for `order=random`.
        builder: called once before the data is read; makes the data set if it is missing.
        notes: sentences that every report of this scenario must carry.
        joint: learn the shuffled union of all tasks at once (multi-task training) instead of one after the other.
        train: false learns nothing: only the zero-shot sample.
        batches: of joint training; else each task has its own.

    Attributes:
        train_tasks: what is learned at which position.
        scoring: of each task, as its yaml says.
        training: `sequence`, `joint` or `nothing`; see `ScoreMatrix`.

    Raises:
        ConfigError: joint without training, or an unknown order.
    """

    def __init__(
        self,
        name: str,
        tasks: Mapping[str, InstructionTask],
        order: str | Sequence[str] = "coin",
        order_seed: int = 0,
        builder: Callable[[], object] | None = None,
        notes: Sequence[str] = (),
        joint: bool = False,
        train: bool = True,
        batches: BatchOptions | None = None,
    ) -> None:
        if joint and not train:
            raise ConfigError("scenario.joint=true trains, scenario.train=false does not; set one of them")
        self.name, self.builder, self.notes = name, builder, list(notes)
        self.names = list(tasks)
        self.tasks = [tasks[name] for name in ordered(self.names, order, order_seed)]
        self.scoring = {task.name: Scoring.of(task.name, task.scoring) for task in self.tasks}
        self.training = "joint" if joint else "sequence" if train else "nothing"
        self.train_tasks: dict[int, InstructionTask] = {}
        if joint:
            self.train_tasks = {len(self.tasks): JointTask(self.tasks, batches or BatchOptions())}
        elif train:
            self.train_tasks = dict(enumerate(self.tasks, start=1))

    def build(self) -> None:
        """Make the data set where it can be made."""
        if self.builder is not None:
            self.builder()

    def prepare(
        self, backbone: Backbone, seed: int, on_progress: Callable[[str, int], None] = lambda task, images: None
    ) -> None:
        """Read and check all tasks before anything is trained.

        Args:
            backbone: reads the samples.
            seed: of the run.
            on_progress: gets a task's name and how many more of its images have been looked at.

        Raises:
            DataError: with the problems of all tasks together.
        """
        problems: list[str] = []
        for position, task in enumerate(self.tasks, start=1):
            try:
                task.connect(backbone, seed, position)
                task.read()
                problems += unusable(self.scoring[task.name], task.test_samples, task.references)
                task.check(partial(on_progress, task.name))
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)
        self.notes += [note for task in self.tasks for note in task.notes if note not in self.notes]
        for position, train_task in self.train_tasks.items():
            if isinstance(train_task, JointTask):
                train_task.join(seed, position)

    def compute_features(
        self, on_progress: Callable[[int, int], None] = lambda done, total: None, device: torch.device | None = None
    ) -> None:
        """Fill the feature stores; `on_progress(done, total)` counts images, `device` is for the tower meanwhile."""
        counts = [len(task.missing_features()) for task in self.tasks]
        done = 0

        def advance(batch: int) -> None:
            nonlocal done
            done += batch
            on_progress(done, max(sum(counts), done))

        for task in self.tasks:
            task.compute_features(advance, device)
