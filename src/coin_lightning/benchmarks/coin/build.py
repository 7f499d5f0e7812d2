"""CoIN's instruction files of a task from its raw data: streamed, resumable, all three instruction types at once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from coin_lightning.benchmarks.coin.options import BuildOptions, BuildProgress, BuiltSplit
from coin_lightning.benchmarks.coin.places import Images, place_truths
from coin_lightning.benchmarks.coin.raw_sample import RawTask
from coin_lightning.benchmarks.coin.record import BuildRecord
from coin_lightning.benchmarks.coin.split_build import SplitBuild
from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.benchmarks.coin.templates import load_instructions
from coin_lightning.benchmarks.layout import IMAGES
from coin_lightning.errors import ConfigError, DataError

RECORDS = "build"
"""Folder below the root with ``<Task>/build.json`` and ``<Task>/skipped.json``."""


def build_task(
    task: str | RawTask,
    raw: Path,
    root: Path,
    options: BuildOptions | None = None,
    progress: BuildProgress | None = None,
) -> list[BuiltSplit]:
    """Write a task's instruction files, ground-truth files and links to its images under ``root``.

    Args:
        task: a key of `RAW_TASKS`, or a task.
        raw: the raw data set's folder.
        root: of the suite; files go to ``Instructions_*/<Task>/`` and ``cl_dataset/``.

    Raises:
        ConfigError: the task is unknown, or an option of it is unknown or has a wrong value.
        DataError: files are missing, malformed or of another split, or (without ``skip``) any record has a problem.
            What could be finished is, and is not built again.
    """
    if isinstance(task, str) and task not in RAW_TASKS:
        raise ConfigError(f"task={task}: there is no such task; choose from {', '.join(RAW_TASKS)}")
    found = RAW_TASKS[task] if isinstance(task, str) else task
    options, raw, root = options or BuildOptions(), Path(raw), Path(root)
    named = _named(found, options)
    with _alone(root / RECORDS / found.folder, found.folder) as records:
        sources = _each(found.splits, lambda split: found.sources(raw, split, **named))
        images = Images(found, raw, root / IMAGES, options.images)
        images.prepare()
        place_truths(found, raw, root / IMAGES)
        builder = SplitBuild(
            task=found,
            raw=raw,
            root=root,
            options=options,
            named=named,
            images=images,
            record=BuildRecord(root, records),
            instructions=load_instructions(found.key),
            progress=progress or BuildProgress(),
        )
        return list(_each(found.splits, lambda split: builder.run(split, sources[split])).values())


def _named(task: RawTask, options: BuildOptions) -> dict[str, Any]:
    """The keyword options of the task's reader."""
    for name in options.options:
        if name not in task.options or name == "seed":
            known = ", ".join(name for name in task.options if name != "seed") or "none"
            raise ConfigError(f"{name}: {task.key} has no such option, only {known}")
    given: Mapping[str, Any] = {**options.options, "seed": options.seed}
    return {name: given[name] for name in task.options if name in given}


def _each(splits: tuple[str, ...], do: Any) -> dict[str, Any]:
    """``do`` for every split; the problems of all splits are raised together, after the last."""
    done, problems = {}, []
    for split in splits:
        try:
            done[split] = do(split)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return done


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield folder
    except Timeout:
        raise DataError(f"{folder}: another process is building {name}; wait until it has finished") from None
