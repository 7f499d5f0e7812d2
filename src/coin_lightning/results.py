"""The runs below some folders, as tables: for notebooks, for `python -m coin_lightning runs`, and for sweeps.

Reads artefacts only: no model, no data set and no GPU is needed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coin_lightning.continual.free_keys import is_free
from coin_lightning.continual.giving_way import LAST
from coin_lightning.continual.run_dir import FAILED, RunDir
from coin_lightning.errors import RunError
from coin_lightning.reporting.flat_config import flat
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.run_files import read_config, read_json

if TYPE_CHECKING:
    import pandas as pd

STATES = ("finished", "working", "stopped", "failed", "ended early", "imported", "foreign")
"""`working`: a process holds the folder; `ended early`: by a search that had better ones; `imported`: made from another
program's results (`import`); `foreign`: it is no run, or one whose files cannot be read."""
NOT_TOLD = ("seed", "experiment_name", "scenario.notes", "num_threads")
"""Keys that do not tell runs apart."""
OF_TASKS = "scenario.tasks."
"""Beginning of keys of single tasks, which take over what groups say."""
MATRIX = "matrix.json"
PROTOCOL = "protocol/"
"""Beginning of columns that are fields of the protocol."""
OF_THE_MACHINE = ("global_batch", "precision")
"""Fields of the protocol that no key of a config need say: they follow from the devices, and from `auto`."""


@dataclass(frozen=True)
class Entry:
    """One run folder.

    Attributes:
        path: the folder, or a `matrix.json` by itself.
        state: one of `STATES`.
        done: experiences that have scores, zero-shot among them; of: all.
        where: the experience it stands at, `in` it where it was stopped in its middle; empty when it is finished.
        matrix: what it has scored; None before the first scores.
        reason: why it failed, or is foreign.
    """

    path: Path
    state: str
    done: int = 0
    of: int = 0
    where: str = ""
    matrix: RunMatrix | None = None
    reason: str = ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """Values by dotted key, but for those that change no result; empty where there is no config."""
        if self.path.is_file() and self.path.name != MATRIX:
            return {}
        folder = self.path.parent if self.path.is_file() else self.path
        try:
            return {key: value for key, value in flat(read_config(folder)) if not is_free(key)}
        except RunError:
            return {}

    @cached_property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(file.stat().st_size for file in files_below(self.path))

    @property
    def seconds(self) -> float:
        """Of training and evaluation."""
        cost = {} if self.matrix is None else self.matrix.cost
        return float(cost.get("train_seconds", 0.0) + cost.get("evaluation_seconds", 0.0))

    def metric(self, key: str) -> float | None:
        """A metric of `metrics.json`; None where the matrix does not define it yet."""
        return None if self.matrix is None else self.matrix.metrics.get(key)


def files_below(path: Path) -> Iterator[Path]:
    """All files below a folder, or the file itself."""
    return (file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


def find_runs(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Run folders among and below the given folders, each once, in order; a file stands for itself, unless it is the
    `matrix.json` of a run folder that is there as well.

    Raises:
        RunError: a path does not exist.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise RunError(f"{path}: no such folder; name run folders, or folders that hold some")
        for run in [path] if path.is_file() else _below(path):
            found.setdefault(os.path.realpath(run), run)
    return [run for run in found.values() if run.name != MATRIX or os.path.realpath(run.parent) not in found]


def _below(folder: Path) -> Iterator[Path]:
    if (folder / "config.yaml").is_file() or (folder / MATRIX).is_file():
        yield folder
        return
    for child in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        yield from _below(child)


def describe(path: Path) -> Entry:
    """How far a run is and what it has found; a folder that cannot be read is told as `foreign`, with the reason."""
    try:
        if path.is_file():
            matrix = load_matrix(path)
            state = "imported" if matrix.imported else "finished" if matrix.is_complete else "stopped"
            return Entry(path, state, matrix=matrix)
        return _described(path)
    except RunError as error:
        return Entry(path, "foreign", reason=str(error).splitlines()[0])


def _described(path: Path) -> Entry:
    matrix = load_matrix(path) if (path / MATRIX).is_file() else None
    tasks, training = (matrix.tasks, matrix.training) if matrix is not None else _planned(read_config(path))
    run = RunDir(path, tasks, training)
    scored = run.scores()
    left = [position for position in run.positions if position not in scored]
    numbers: dict[str, Any] = {"done": len(scored), "of": len(run.positions), "matrix": matrix}
    if run.is_imported:
        return Entry(path, "imported", **numbers)
    if not left:
        return Entry(path, "finished", **numbers)
    folder = run.folder(left[0])
    numbers["where"] = f"in {folder.name}" if (folder / LAST).exists() else folder.name
    if run.is_held():
        return Entry(path, "working", **numbers)
    if (path / FAILED).is_file():
        told = read_json(path / FAILED)
        state = "ended early" if told.get("early") else "failed"
        return Entry(path, state, **numbers, reason=str(told.get("error", "")))
    return Entry(path, "stopped", **numbers)


def _planned(config: Mapping[str, Any]) -> tuple[list[str], str]:
    """Tasks in their order, and the kind of training, of a run that has no scores yet."""
    scenario = config.get("scenario") or {}
    nodes = scenario.get("tasks") or {}
    order = scenario.get("order")
    names = order if isinstance(order, list) else [node.get("name", key) for key, node in nodes.items()]
    training = "joint" if scenario.get("joint") else "sequence" if scenario.get("train", True) else "nothing"
    if not names:
        raise RunError("config.yaml names no tasks: this is no run, or one of a version that nobody knows")
    return list(map(str, names)), training


def differing(entries: Sequence[Entry]) -> list[str]:
    """Config keys by which the runs differ, seeds aside, in the order of the config; of a task that all runs have also
    those of its own values that no group tells."""
    known = [entry.config for entry in entries if entry.config]
    keys = dict.fromkeys(key for config in known for key in config if not key.startswith((*NOT_TOLD, OF_TASKS)))
    told = [key for key in keys if _differs(key, known)]
    return [*told, *_own_of_tasks(known, told)]


def _differs(key: str, known: Sequence[Mapping[str, Any]]) -> bool:
    first, *others = [config.get(key) for config in known]
    if all(other is first for other in others) or all(repr(other) == repr(first) for other in others):
        return False  # sections of configs that are equal in text share their values, so that most are the same object
    return not (key.endswith("seed") and all(config.get(key) == config.get("seed") for config in known))


def _own_of_tasks(known: Sequence[Mapping[str, Any]], told: Sequence[str]) -> Iterator[str]:
    shared = [key for key in (known[0] if known else ()) if key.startswith(OF_TASKS) and all(key in c for c in known)]
    for key in (key for key in shared if _differs(key, known)):
        own = key.removeprefix(OF_TASKS).partition(".")[2]
        if not any(own == each or own.endswith(f".{each}") for each in told):
            yield key


def load(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> "pd.DataFrame":
    """Every score of the runs among and below `paths`: a record for each run, position and task.

    Args:
        paths: one or several folders, or files with the content of a `matrix.json`, whatever their names.

    Returns:
        a frame with the index `run`, `position` (0 is zero-shot, k is after the k-th experience) and `task`, so that
        `.to_xarray()` is a cube (pip install 'coin-lightning[notebook]'). Columns, scores in percent and differences in
        points: `experiment`, `method`, `backbone`, `seed`, `training`, the config keys by which the runs differ, and
        `protocol/global_batch` and `protocol/precision` where these do (with a matrix that has no config beside it, any
        `protocol/<field>`); `after` (what was learned last), `score`, `count` (answers), `zero_shot`, `own` (right
        after the task's own training), `change` (below the diagonal against `own`, else against `zero_shot`), `guess`
        (best answer without looking), and `judge/<name>`.
        Of imported runs `seed` and `count` may be missing, and a cell that only a judge has scored has no `score`.

    Raises:
        RunError: a path does not exist, or there is no run with scores; or a file of one cannot be read.
    """
    import pandas as pd

    entries = _scored(paths)
    keys = [*differing(entries), *_differing_protocol(entries)]
    records = [record for entry in entries for record in _records(entry, keys)]
    return pd.DataFrame(records).set_index(["run", "position", "task"])


def load_metrics(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> "pd.DataFrame":
    """A record for each run: its facts as in `load`, its metrics as in `metrics.json`, `seconds` and `bytes`.

    Raises:
        RunError: as `load`.
    """
    import pandas as pd

    entries = _scored(paths)
    keys = [*differing(entries), *_differing_protocol(entries)]
    records = []
    for entry in entries:
        assert entry.matrix is not None
        seconds = None if entry.state == "imported" else entry.seconds
        cost = {"seconds": seconds, "bytes": entry.bytes}
        records.append({**_facts(entry, keys), "state": entry.state, **entry.matrix.metrics, **cost})
    return pd.DataFrame(records).set_index("run")


def _scored(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Entry]:
    """Runs with scores; an unreadable one is an error here: a table without it would say nothing of it."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    entries = [describe(run) for run in find_runs(given)]
    if foreign := [entry for entry in entries if entry.state == "foreign"]:
        raise RunError("\n".join(entry.reason for entry in foreign))
    scored = [entry for entry in entries if entry.matrix is not None]
    if not scored:
        raise RunError(f"{', '.join(map(str, given))}: no run that has been evaluated; name folders of runs")
    return scored


def _differing_protocol(entries: Sequence[Entry]) -> list[str]:
    """Fields of the protocol by which runs differ, as columns; where all have configs, those which these leave open."""
    protocols = [entry.matrix.protocol for entry in entries if entry.matrix is not None]
    fields = dict.fromkeys(name for protocol in protocols for name in protocol)
    if all(entry.config for entry in entries):
        fields = dict.fromkeys(name for name in OF_THE_MACHINE if name in fields)
    return [PROTOCOL + name for name in fields if len({repr(protocol.get(name)) for protocol in protocols}) > 1]


def _facts(entry: Entry, keys: Sequence[str]) -> dict[str, Any]:
    matrix = entry.matrix
    assert matrix is not None
    names = {"experiment": matrix.experiment, "method": matrix.method, "backbone": matrix.backbone, "seed": matrix.seed}
    values = {key: _value(entry, matrix, key) for key in keys}
    told = {key: str(value) if isinstance(value, list | dict) else value for key, value in values.items()}
    return {"run": str(entry.path), **names, "training": matrix.training, **told}


def _value(entry: Entry, matrix: RunMatrix, key: str) -> Any:
    return matrix.protocol.get(key.removeprefix(PROTOCOL)) if key.startswith(PROTOCOL) else entry.config.get(key)


def _records(entry: Entry, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    matrix = entry.matrix
    assert matrix is not None
    change, facts = matrix.change(), _facts(entry, keys)
    for position in range(len(matrix.rows)):
        for column, task in enumerate(matrix.tasks):
            judged = {f"judge/{name}": judge.scores[position, column] for name, judge in matrix.judges.items()}
            if not np.isnan([matrix.scores[position, column], *judged.values()]).all():
                yield {
                    **facts,
                    "position": position,
                    "task": task,
                    "after": matrix.rows[position],
                    "score": matrix.scores[position, column],
                    "count": int(matrix.counts[position, column]) or None,
                    "zero_shot": matrix.zero_shot[column],
                    "own": matrix.immediate[column],
                    "change": change[position, column],
                    "guess": matrix.guess(task),
                    **judged,
                }
