"""Whether a run may go on with another number of devices than it was started with.

Between two tasks it may: only whole weights are kept, and a step learns from the same samples however many processes
share them. The last digits change, and so do the numbers that dropout draws.
"""

from collections.abc import Mapping

import torch

from coin_lightning.continual.giving_way import LAST
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import RunError
from coin_lightning.run_files import read_json


def check_devices(run: RunDir, batches: Mapping[str, int], devices: int, weighting: str) -> None:
    """A run of other devices may be continued; one that was not started yet has none.

    Args:
        run: claimed.
        batches: samples per optimizer step of each task, with these devices.
        devices: processes that are going to learn.
        weighting: `protocol.loss_weighting`.

    Raises:
        RunError: a step would learn from more or fewer samples or weigh them otherwise, or a task was begun.
    """
    file = run.path / "plan.json"
    if not run.started() or run.finished() or not file.exists():
        return
    before = {task["task"]: task for task in read_json(file)["tasks"]}
    earlier = {task["devices"] for task in before.values()} - {devices}
    if not earlier:
        return
    how = f"{run.path}: was started on {_counted(earlier)} and cannot be continued on {devices}"
    if weighting != "exact":
        raise RunError(
            f"{how}: protocol.loss_weighting={weighting} weighs by the batches of each device; start it on "
            f"{_counted(earlier)}, or choose another folder with experiment_name=..."
        )
    for name, size in batches.items():
        if name in before and before[name]["global_batch"] != size:
            old = before[name]["global_batch"]
            raise RunError(
                f"{how}: a step of {name} would learn from {size} samples, and did from {old}. Start it on "
                f"{_counted(earlier)}, or set trainer.accumulate_grad_batches or protocol.global_batch, from the run's "
                "first start on, so that it is the same"
            )
    _refuse_begun(run, devices)


def _counted(devices: set[int]) -> str:
    return " and ".join(f"{count} device{'s' if count > 1 else ''}" for count in sorted(devices))


def _refuse_begun(run: RunDir, devices: int) -> None:
    """A task in its middle holds random numbers and a place in the samples for each of its processes."""
    for position in run.positions:
        file = run.folder(position) / LAST
        if not file.exists() or (run.folder(position) / "train.json").exists():
            continue
        try:
            ranks = len(torch.load(file, weights_only=True, map_location="cpu", mmap=True)["ranks"])
        except Exception:  # damaged in whatever way: who loads it has the message
            continue
        if ranks != devices:
            raise RunError(
                f"{file}: the task was begun by {ranks} processes and cannot be continued by {devices}: each has its "
                f"place in the samples and its random numbers. Start {ranks} until the task is done, or remove this "
                "file to learn the task from its beginning"
            )
