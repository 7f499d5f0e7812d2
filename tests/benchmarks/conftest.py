import json
from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin_mini import Manifest, build
from coin_lightning.benchmarks.drawing import Materials

SMALL = {"train_samples": 60, "test_samples": 30, "caption_samples": 24}


@pytest.fixture(scope="session")
def materials() -> Materials:
    return Materials()


@pytest.fixture(scope="session")
def small_suite(tmp_path_factory) -> tuple[Path, Manifest]:
    """A small build of all tasks, shared by the tests that only read it."""
    root = tmp_path_factory.mktemp("suite")
    return root, build(root, **SMALL)


@pytest.fixture(scope="session")
def samples_of(small_suite):
    """(folder, split file name) -> samples."""

    def read(folder: str, split: str) -> list[dict]:
        return json.loads((small_suite[0] / "Instructions_Original" / folder / f"{split}.json").read_text())

    return read
