"""What a `data build` command line asks for, or what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coin_lightning.benchmarks.coin.options import BuildOptions
from coin_lightning.benchmarks.coin.places import MODES
from coin_lightning.benchmarks.coin.raw_sample import RawTask, first_of
from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.benchmarks.coin.templates import FOLDERS
from coin_lightning.cli.config_errors import hint
from coin_lightning.cli.pairs import pairs
from coin_lightning.errors import ConfigError

KEYS = ("task", "raw", "out", "types", "seed", "skip", "images", "grouped")


@dataclass(frozen=True)
class Request:
    """A command line that makes sense: (task, its raw folder) pairs, tasks without folder, where to, and how."""

    tasks: list[tuple[RawTask, Path]]
    absent: list[RawTask]
    out: Path
    options: BuildOptions


def parse(arguments: Sequence[str]) -> Request:
    """Make sense of ``key=value`` arguments.

    Raises:
        ConfigError: a key or value is unknown or missing, with the nearest names.
    """
    given = pairs(arguments)
    for key in ("task", "raw", "out"):
        if not given.get(key):
            raise ConfigError(f"{key}= is missing; see build --help")
    names = list(RAW_TASKS) if given["task"] == "all" else [_known(name, "task") for name in _listed(given["task"])]
    tasks = [RAW_TASKS[name] for name in names]
    known = {*KEYS, *(name for task in tasks for name in task.options)}
    for key in given:
        if key not in known:
            raise ConfigError(f"{key}: there is no such key for task={given['task']}; {hint(key, known)}")
    found = _raw_folders(tasks, Path(given["raw"]), several=len(tasks) > 1 or given["task"] == "all")
    absent = [task for task in tasks if task.key not in found]
    return Request([(RAW_TASKS[key], raw) for key, raw in found.items()], absent, Path(given["out"]), _options(given))


def _raw_folders(tasks: Sequence[RawTask], raw: Path, several: bool) -> dict[str, Path]:
    """Task key -> its raw folder: ``raw`` itself or, for several tasks, what is found in it."""
    if not raw.is_dir():
        raise ConfigError(f"raw={raw}: there is no such folder")
    if not several:
        return {tasks[0].key: raw}
    found = {task.key: place for task in tasks if (place := first_of(raw, task.raw_folders)) is not None}
    if not found:
        raise ConfigError(f"raw={raw}: holds none of the raw data sets; build --help lists their folders")
    return found


def _options(given: Mapping[str, str]) -> BuildOptions:
    seed = given.get("seed", "0")
    if not seed.isdecimal():
        raise ConfigError(f"seed={seed}: must be a whole number from 0 on")
    return BuildOptions(
        types=tuple(_known(name, "types", FOLDERS) for name in _listed(given.get("types", ",".join(FOLDERS)))),
        seed=int(seed),
        skip=_truth(given, "skip", "false"),
        images=_known(given.get("images", "link"), "images", MODES),
        grouped=_truth(given, "grouped", "true"),
        options={key: value for key, value in given.items() if key not in KEYS},
    )


def _listed(value: str) -> list[str]:
    names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
    return list(dict.fromkeys(names)) or [""]


def _known(name: str, key: str, known: Mapping[str, object] = RAW_TASKS) -> str:
    if name not in known:
        choices = [*known, "all"] if key == "task" else known
        raise ConfigError(f"{key}={name}: there is no {name!r}; {hint(name, choices)}")
    return name


def _truth(given: Mapping[str, str], key: str, default: str) -> bool:
    value = given.get(key, default).lower()
    if value not in ("true", "false"):
        raise ConfigError(f"{key}={value}: must be true or false")
    return value == "true"
