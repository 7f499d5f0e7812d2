"""Benchmark scripts as modules, and arguments that make them run on a tiny model and a few samples."""

import sys
from pathlib import Path

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
