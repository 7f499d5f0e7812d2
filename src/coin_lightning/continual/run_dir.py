"""`RunDir`: the folder of a run, its files, and the score matrix that they add up to (design section 8)."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from coin_lightning.errors import RunError
from coin_lightning.metrics.score_matrix import ScoreMatrix, metrics_to_json

PACKAGES = (
    "coin-lightning", "torch", "lightning", "transformers", "peft", "hydra-core", "omegaconf", "datasets", "wandb",
    "numpy", "pillow",
)  # fmt: skip
FREE_KEYS = (
    "paths", "run_dir", "logger", "callbacks", "hydra",
    "scenario.root", "scenario.features", "scenario.builder", "scenario.num_workers",
)  # fmt: skip
"""Config keys that do not change a result: a run may be continued with others. The data have their own check."""


def write_json(file: Path, data: Any) -> None:
    """Write JSON so that the file is either the old or the new one, whenever the process dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    scratch.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(scratch, file)


def read_json(file: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: it is missing or broken.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read ({error}); remove the task's folder to do it again") from error


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Lines `key: old -> new` where two nested configs differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = {key: f"{path}.{key}" if path else str(key) for key in [*old, *new]}
        kept = {key: name for key, name in names.items() if name not in FREE_KEYS}
        return [line for key, name in kept.items() for line in differences(old.get(key), new.get(key), name)]
    return [] if old == new else [f"  {path}: {old!r} -> {new!r}"]


class RunDir:
    """Paths and files of one run.

    Args:
        path: the folder; made when missing.
        tasks: names in scenario order.
    """

    def __init__(self, path: Path, tasks: Sequence[str]) -> None:
        self.path, self.tasks = Path(path), list(tasks)
        self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep other processes from working in the folder; the lock goes with the process, however it ends.

        The ranks of one job share the lock of their first.

        Raises:
            RunError: another process has it.
        """
        if int(os.environ.get("RANK", "0")) > 0:
            yield
            return
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise RunError(
                f"{self.path}: another process is working in this run folder; wait for it, or give the run another "
                "folder with experiment_name=..."
            ) from error

    def folder(self, index: int) -> Path:
        """Folder of an experience: `task_00_zero_shot`, `task_01_<name>`, ..."""
        name = "zero_shot" if index == 0 else self.tasks[index - 1]
        return self.path / f"task_{index:02d}_{name}"

    def claim(self, config: Mapping[str, Any]) -> None:
        """Write `config.yaml`, or check that the one that is there says the same. Before any result it may change.

        Raises:
            RunError: the folder belongs to another config; the message has the differences.
        """
        file = self.path / "config.yaml"
        if file.exists() and self.started():
            found = differences(yaml.safe_load(file.read_text(encoding="utf-8")), config)
            if found:
                raise RunError(
                    f"{self.path}: was started with another config, so it cannot be continued:\n" + "\n".join(found)
                    + "\nUndo the change, or choose another folder with experiment_name=..., or move this one away."
                )  # fmt: skip
            return
        scratch = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        scratch.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
        os.replace(scratch, file)

    def started(self) -> bool:
        """Whether anything has been computed."""
        return any(self.path.glob("task_*/*"))

    def claim_data(self, data: Mapping[str, Any]) -> None:
        """Write `environment.json`; on continuing, check first that the data are the same.

        Args:
            data: by task, with the `sha256` of its files.

        Raises:
            RunError: a file has changed since the run was started.
        """
        file = self.path / "environment.json"
        old = read_json(file).get("data", {}) if file.exists() and self.started() else {}
        changed = [task for task in data if task in old and old[task]["sha256"] != data[task]["sha256"]]
        if changed:
            raise RunError(
                f"{self.path}: the data of {', '.join(changed)} changed since this run was started, so its scores "
                "would not fit together; restore the files, or choose another folder with experiment_name=..."
            )
        write_json(file, environment(data))

    def summary_is_current(self) -> bool:
        """Whether `matrix.json` holds every row that has scores."""
        file = self.path / "matrix.json"
        return file.exists() and read_json(file).get("scores") == self.matrix().to_json()["scores"]

    def scores(self) -> dict[int, dict[str, Any]]:
        """`scores.json` of every finished experience, by position."""
        files = {index: self.folder(index) / "scores.json" for index in range(len(self.tasks) + 1)}
        return {index: read_json(file) for index, file in files.items() if file.exists()}

    def matrix(self) -> ScoreMatrix:
        """What has been scored so far."""
        matrix = ScoreMatrix.empty(self.tasks)
        for index, scores in self.scores().items():
            matrix = matrix.with_row(index, scores["scores"], scores["counts"])
        return matrix

    def costs(self) -> dict[str, Any]:
        """Sums over `train.json` and `scores.json`."""
        trained = [self.folder(index) / "train.json" for index in range(1, len(self.tasks) + 1)]
        tasks = [read_json(file) for file in trained if file.exists()]
        return {
            "train_seconds": sum(task["seconds"] for task in tasks),
            "evaluation_seconds": sum(scores["seconds"] for scores in self.scores().values()),
            "trainable_parameters": max((task["trainable_parameters"] for task in tasks), default=0),
            "checkpoint_bytes": max((task["checkpoint_bytes"] for task in tasks), default=0),
            "peak_memory_bytes": max((task["peak_memory_bytes"] for task in tasks), default=0),
            "per_task": tasks,
        }

    def write_summary(self, facts: Mapping[str, Any]) -> ScoreMatrix:
        """Write `matrix.json`, `matrix.csv`, `metrics.json`; `facts` are what no file has (protocol, ...)."""
        matrix = self.matrix()
        metrics = metrics_to_json(matrix.summary())
        write_json(self.path / "matrix.json", {**matrix.to_json(), "metrics": metrics, "cost": self.costs(), **facts})
        write_json(self.path / "metrics.json", metrics)
        scratch = self.path / ".matrix.csv.tmp"
        scratch.write_text(matrix.as_csv(), encoding="utf-8")
        os.replace(scratch, self.path / "matrix.csv")
        return matrix


def environment(data: Mapping[str, Any]) -> dict[str, Any]:
    """Contents of `environment.json`: versions, git commit of the source, machine class, data."""
    return {"versions": dict(_versions(PACKAGES)), "git": _git_commit(), "machine": machine(), "data": dict(data)}


def _versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def machine() -> dict[str, Any]:
    """Machine class: processor, cores, memory, accelerator."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    threads, python = torch.get_num_threads(), platform.python_version()
    return {"cpu": processor, "cores": os.cpu_count(), "threads": threads, "device": device, "python": python}
