"""Fixtures: fake run folders, made by ``fake_run.build_run``."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for fake_run, whatever import mode pytest uses

from fake_run import build_run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run(name="run", **options of build_run)`` -> run folder."""

    def make(name: str = "run", **options: object) -> Path:
        return build_run(tmp_path / name, **options)  # type: ignore[arg-type]

    return make
