"""Benchmark scripts as modules, and arguments that make them run on a tiny model and a few samples."""

import os
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from small_coin import FOLDERS, write_suite

FOLDER = Path(__file__).parents[3] / "experiments" / "benchmarks"
SCRIPTS = {path.stem for path in FOLDER.glob("*.py")}


@pytest.fixture
def script(monkeypatch):
    """Import a benchmark script by name, as running it does."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield __import__
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.fixture
def in_forks(script, tmp_path, monkeypatch):
    """Import a script as `script` does; the processes that it starts of itself are forks, which need import nothing."""

    def imported(name):
        module = script(name)
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=partial(_in_fork, module, tmp_path)))
        return module

    return imported


def _in_fork(module, folder, command, **options):
    """As `subprocess.run` of a script on itself."""
    assert command[:2] == [sys.executable, module.__file__]
    out, err = folder / "out.txt", folder / "err.txt"
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return subprocess.CompletedProcess(command, status, out.read_text(), err.read_text())
    status = 1
    try:
        with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
            try:
                module.main(command[2:])
                status = 0
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(status)


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    """A very small suite on disk."""
    return write_suite(tmp_path_factory.mktemp("bench") / "suite", train=12, test=6)


@pytest.fixture
def tiny(suite, tmp_path):
    """Arguments after a script's own ones; `tiny("vqav2")` chooses the task."""

    def arguments(*tasks):
        assert set(tasks) <= set(FOLDERS)
        lines = [
            "backbone=tiny",
            "scenario.builder=null",
            f"paths.data={suite}",
            f"paths.features={tmp_path / 'features'}",
            "batches.size=4",
            "answers.batch_size=4",
            "adapter.rank=8",
            "adapter.alpha=16",
            "trainer=cpu",
            "num_threads=1",
        ]
        return ["--tasks", *tasks, "--out", str(tmp_path / "out.json"), "--override", *lines]

    return arguments
