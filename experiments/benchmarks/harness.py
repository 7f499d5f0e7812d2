"""Shared by the benchmark scripts: interleaved timing, saved-activation bytes, machine description, table and JSON."""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def cpu_model() -> str:
    """Model name of the processor, as the system reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine(device: str = "cpu") -> dict[str, Any]:
    """Class of the machine and versions: what a reader needs to compare numbers."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_at_start": load,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "clock": "cpu time" if CLOCK["cpu"] else "wall time",
    }
    return found | ({"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {})


CLOCK = {"cpu": False}


def clock() -> float:
    """Seconds of wall time, or of this process's CPU time where `CLOCK["cpu"]` says so: on a busy machine waiting for a
    core would be all that is measured."""
    return time.process_time() if CLOCK["cpu"] else time.perf_counter()


def _seconds(step: Callable[[], Any], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    start = clock()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return clock() - start


def interleaved(
    sides: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    warmup: int = 2,
    device: str = "cpu",
    own_clock: bool = False,
    limit_s: float = math.inf,
) -> dict[str, list[float]]:
    """Seconds of each side, `repeats` rounds. Every round runs every side once, starting one further each time, so that
    heat, clock and neighbours touch all sides alike. With `own_clock` a side returns its seconds itself. On a slow
    machine there are fewer rounds, one at least: none is begun that would end after `limit_s` of wall time."""
    names = list(sides)
    times: dict[str, list[float]] = {name: [] for name in names}
    started = time.monotonic()
    for turn in range(-warmup, repeats):
        if turn == 0:
            started = time.monotonic()
        if turn > 0 and (time.monotonic() - started) * (turn + 1) / turn > limit_s:
            break
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds = sides[name]() if own_clock else _seconds(sides[name], device)
            if turn >= 0:
                times[name].append(seconds)
    return times


def ratio(times: Mapping[str, Sequence[float]], side: str, against: str) -> float:
    """Median over rounds of side / against: each quotient compares neighbours in time."""
    return statistics.median(a / b for a, b in zip(times[side], times[against], strict=True))


def milliseconds(seconds: Sequence[float]) -> float:
    """Median, in ms."""
    return statistics.median(seconds) * 1e3


def saved_bytes(forward: Callable[[], torch.Tensor], exclude: Sequence[torch.Tensor] = ()) -> int:
    """Bytes that a forward pass keeps for backward: each storage once, without those of `exclude`."""
    known = {tensor.untyped_storage().data_ptr() for tensor in exclude}
    kept: dict[int, int] = {}
    held: list[torch.Tensor] = []  # keeps storages alive, so that no address is seen twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held.append(tensor)
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(kept.values())


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Write results, making the folder; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
