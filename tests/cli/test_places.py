"""Disks that are full: one line, and a run that the same command finishes."""

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from coin_lightning.cli.places import unusable_place
from results import results


def raised_in(error: Exception, cause: Exception) -> Exception:
    """An error that was raised in the handling of another one."""
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/shut"), "/shut: cannot be written or read (Permission"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file that is being written: cannot be written"),
        (raised_in(RuntimeError("torch says no more"), OSError(errno.ENOSPC, "full")), "(No space left on device)"),
        (SafetensorError("Error while serializing: I/O error: x (os error 28)"), "(No space left on device)"),
    ],
)
def test_a_place_is_told(error: Exception, told: str):
    assert told in str(unusable_place(error))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug (os error 28)"),
        OSError("without a place"),
        raised_in(KeyError("a bug"), PermissionError(errno.EACCES, "asked on the way", "/shut")),
        SafetensorError("header too large"),
    ],
)
def test_a_bug_is_none(error: Exception):
    assert unusable_place(error) is None


@pytest.mark.parametrize("at", [3, 60])
def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_loses_nothing(place, tmp_path: Path, at: int):
    def command(name: str, *more: str) -> list[str]:
        words = place.brief(
            "unused", "batches.size=2", "callbacks.checkpoint.every_n_steps=1", *more, tasks="gqa,vqav2"
        )
        return [*words, f"run_dir={tmp_path / name}"]

    full = ["+callbacks.full._target_=probes.FullDisk", f"+callbacks.full.at={at}"]
    status, text = place.runs.run(command("full", *full))
    assert status == 1, text
    assert "Traceback" not in text
    assert f"cannot be written or read ({os.strerror(errno.ENOSPC)}); make room" in text
    assert "the same command goes on from there" in text
    for name in ("full", "whole"):
        status, text = place.runs.run(command(name))
        assert status == 0, text
    assert results(tmp_path / "full") == results(tmp_path / "whole")
