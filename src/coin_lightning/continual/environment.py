"""What a run was made with: versions, commit, machine, data (`environment.json`), and what of it has changed since."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "coin-lightning", "torch", "lightning", "transformers", "peft", "hydra-core", "omegaconf", "datasets", "wandb",
    "numpy", "pillow",
)  # fmt: skip
GROUPS = ("versions", "machine")


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
    import torch  # here alone: a finished run is recognised without it

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    threads, python = torch.get_num_threads(), platform.python_version()
    return {"cpu": processor, "cores": os.cpu_count(), "threads": threads, "device": device, "python": python}


def continued(old: Mapping[str, Any], now: Mapping[str, Any], at: str | None) -> dict[str, Any]:
    """`environment.json` of a run that goes on: as it was begun, and under `later` what has changed from where on.

    Args:
        old: the file so far; empty for a new run.
        now: of this process.
        at: folder of the experience that comes next; None: all have scores.
    """
    if not old:
        return dict(now)
    later = list(old.get("later", []))
    changed: dict[str, Any] = {}
    for key in GROUPS:
        before = {name: value for each in (old, *later) for name, value in (each.get(key) or {}).items()}
        changed[key] = {name: value for name, value in now[key].items() if before.get(name) != value}
    commit = next((each["git"] for each in reversed((old, *later)) if "git" in each), None)
    changed["git"] = now["git"] if now["git"] != commit else None
    changed = {key: value for key, value in changed.items() if value}
    return {**old, "data": now["data"], **({"later": [*later, {"at": at, **changed}]} if changed else {})}


def same_files(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two runs have read the same files, by name and sha256; one of older code may know fewer of them."""
    return bool(one) == bool(other) and (one.items() <= other.items() or other.items() <= one.items())


def same_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs have read the same files and seen the same images of a task.

    Args:
        one, other: what a task's `describe` says. Images are compared where both know them, of as many samples.
    """
    mine, theirs = (entry.get("images") or {} for entry in (one, other))
    compared = [split for split in mine if split in theirs and one.get(split) == other.get(split)]
    files, others = (entry.get("sha256") or {} for entry in (one, other))
    return same_files(files, others) and all(mine[split] == theirs[split] for split in compared)


def told(later: Mapping[str, Any]) -> str:
    """An entry of `later` as a sentence."""
    where = f"from {later['at']} on" if later["at"] else "behind its end"
    parts = [f"commit {later['git']}"] if "git" in later else []
    parts += [f"{name} {value}" for key in GROUPS for name, value in later.get(key, {}).items()]
    return f"The run was continued {where} with something else than it was begun with: {', '.join(parts)}."
