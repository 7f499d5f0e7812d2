"""Where in a tree of results the runs are: `.../<run>/<Task>/<Stage>/merge.jsonl`, at any depth."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coin_lightning.errors import ConfigError, RunError
from coin_lightning.imports.spellings import JOINT, ZERO_SHOT, Nodes, Stage, position_of, stage_of, task_of

ANSWERS, PRINTED, OPTIONS, JUDGED = "merge.jsonl", "Result.text", "output_result.jsonl", "Prompt_Result.text"
FILES = (ANSWERS, PRINTED, OPTIONS, JUDGED)
"""Answers; what the scoring script printed; ScienceQA's answers and accuracy; what the judge's script printed."""
ALPHABET = ("gqa", "imagenet", "ocrvqa", "grounding", "scienceqa", "textvqa", "vizwiz", "vqav2")
"""The order that CoIN calls alphabetical: of its scripts (fa896c9, `Train_alphabet`), which have Grounding fourth."""


@dataclass(frozen=True)
class Place:
    """A folder with what one model answered to one task's questions."""

    task: str
    stage: Stage
    folder: Path

    def file(self, name: str) -> Path | None:
        """One of `FILES`, if it is there."""
        file = self.folder / name
        return file if file.is_file() else None


@dataclass
class FoundRun:
    """A folder of tasks, which becomes a run; models that learned all tasks at once become another one.

    Attributes:
        name: where it lies below the given folder.
        folder: itself.
        places: what it holds.
        unknown: folders in it that mean no known task or stage.
        joint: whether it is the one that learned all tasks at once.
    """

    name: str
    folder: Path
    places: list[Place] = field(default_factory=list)
    unknown: list[Path] = field(default_factory=list)
    joint: bool = False


def find_runs(root: Path, nodes: Nodes) -> tuple[list[FoundRun], list[Path]]:
    """Every run below a folder, in order, and the folders with results that belong to none.

    Raises:
        RunError: there is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise RunError(f"{root}: no such folder; give one that holds <Task>/<Stage>/{ANSWERS} or {PRINTED}")
    found: dict[Path, FoundRun] = {}
    for leaf in _leaves(root):
        folder = leaf.parent.parent if leaf.parent != root and leaf != root else root
        run = found.setdefault(folder, FoundRun(_name(folder, root), folder))
        task = task_of(leaf.parent.name, nodes) if leaf.parent.parent == folder else None
        stage = None if task is None else stage_of(leaf.name, task, nodes)
        if task is None or stage is None:
            run.unknown.append(leaf)
        else:
            run.places.append(Place(task, stage, leaf))
    runs = [part for run in found.values() if run.places for part in _parts(run)]
    if not runs:
        raise RunError(
            f"{root}: holds no results of CoIN's code; below it there must be <Task>/<Stage>/ with {', '.join(FILES)}, "
            f"where <Task> is one of {', '.join(str(node.get('directory', key)) for key, node in nodes.items())}"
        )
    return runs, [leaf for run in found.values() if not run.places for leaf in run.unknown]


def _leaves(root: Path) -> list[Path]:
    """Folders that hold at least one of `FILES`, each once. Links, to where there was room, are followed behind all
    that lies below `root` itself.

    Raises:
        RunError: a folder cannot be read.
    """
    found, seen = [], set[Path]()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        try:
            entries = [(Path(entry.path), entry.is_dir(), entry.is_symlink()) for entry in os.scandir(folder)]
        except OSError as error:
            raise RunError(
                f"{folder}: cannot be read ({error.strerror}); see to its rights, or move it away"
            ) from error
        for path, is_folder, is_link in entries:
            if is_folder:
                (links if is_link else folders).append(path)
        if {path.name for path, is_folder, _ in entries if not is_folder} & set(FILES):
            found.append(folder)
    return sorted(found)


def _name(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder != root else root.resolve().name


def _parts(run: FoundRun) -> list[FoundRun]:
    """The sequence, and beside it what was learned all at once; zero-shot goes with the sequence if there is one."""
    joint = [place for place in run.places if place.stage == JOINT]
    rest = [place for place in run.places if place.stage != JOINT]
    if not joint:
        return [run]
    if all(place.stage == ZERO_SHOT for place in rest):
        return [FoundRun(run.name, run.folder, run.places, run.unknown, joint=True)]
    both = FoundRun(f"{run.name}_multitask", run.folder, joint, joint=True)
    return [FoundRun(run.name, run.folder, rest, run.unknown), both]


def order_of(run: FoundRun, names: Sequence[str], given: Sequence[str] | None) -> list[str]:
    """The order in which a run has learned the tasks: as given, else CoIN's, CoIN's `ALPHABET` or that of the names.

    Args:
        run: whose stages say which tasks came behind which.
        names: tasks in CoIN's order.
        given: by the user.

    Raises:
        ConfigError: the stages fit none of these, or the given one lacks a task that has results.
    """
    if given is not None:
        lacking = sorted({place.task for place in run.places} - set(given))
        if lacking:
            raise ConfigError(f"--order: lacks {', '.join(lacking)}, of which {run.folder} holds results")
        return list(given)
    for order in (list(names), list(ALPHABET), sorted(names)):
        if not (against := early(run, order)):
            return order
    shown = ", ".join(f"{place.folder.parent.name}/{place.folder.name}" for place in against[:3])
    raise ConfigError(
        f"{run.folder}: its stages fit neither CoIN's order of tasks nor its alphabet nor that of the names (in which "
        f"{shown} would be before the task's own training); import it by itself and say in which order they were "
        "learned: --order coin_alphabet, alphabetical or task,task,..."
    )


def early(run: FoundRun, order: Sequence[str]) -> list[Place]:
    """Places of stages before the task's own training, which CoIN's scripts do not evaluate but for zero-shot."""
    return [place for place in run.places if not _behind(place, order)]


def _behind(place: Place, order: Sequence[str]) -> bool:
    """Whether a stage is zero-shot, or not before the task's own training."""
    if place.task not in order:
        return False
    position = position_of(place.task, place.stage, order)
    return position is not None and (position == 0 or position > order.index(place.task))


def cells_of(run: FoundRun, order: Sequence[str]) -> Mapping[tuple[int, str], Place]:
    """The places of a run by row and task of its score matrix.

    Raises:
        RunError: two folders stand for one cell, or a stage for no row.
    """
    found: dict[tuple[int, str], Place] = {}
    for place in run.places:
        position = position_of(place.task, place.stage, order)
        if position is None:
            raise RunError(f"{place.folder}: with {len(order)} tasks ({', '.join(order)}) there is no such stage")
        first = found.setdefault((position, place.task), place)
        if first is not place:
            raise RunError(
                f"{first.folder} and {place.folder} both stand for {place.task} at one stage; move one away, so that "
                "it is clear which counts"
            )
    return found
