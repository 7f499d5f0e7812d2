"""One process, two with whole models, two with a sharded one: the same steps on the same samples, and the same end.

21 samples in steps of four: the last step has one, which only one of two processes can learn from.
"""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from ranks import together
from small_coin import overrides, write_suite

pytestmark = pytest.mark.ddp

TASKS = "scienceqa,imagenet"
ALONE = ["batches.size=4"]
TWO = ["trainer.accelerator=cpu", "trainer.devices=2", "batches.size=2"]
RANKS = {
    "ddp": ["trainer=ddp", *TWO],
    "fsdp": ["trainer=fsdp", *TWO],
    "sharded": ["trainer=fsdp", "trainer.strategy.trainable=sharded", *TWO],
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_suite(tmp_path_factory.mktemp("devices") / "suite", train=21, test=5)


@pytest.fixture(scope="module")
def command(place, suite: Path):
    def of(name: str, *more: str, tasks: str = TASKS) -> list[str]:
        exact = [
            "adapter.dropout=0.0",
            "optimizer._target_=torch.optim.SGD",
            "optimizer.lr=0.5",
            "+optimizer.momentum=0.9",
            "batches.epochs=1",
            "protocol.global_batch=4",
        ]
        return overrides(suite, place.cache, place.folder / name, *exact, *more, tasks=tasks)

    return of


@pytest.fixture(scope="module")
def alone(place, command) -> Path:
    status, text = place.runs.run(command("devices_alone", *ALONE))
    assert status == 0, text
    return place.folder / "devices_alone"


def distances(one: Path, other: Path) -> dict[str, float]:
    """Largest difference of two runs in a number, by file of tensors."""
    files = sorted(file.relative_to(one) for file in one.glob("task_*/**/*.safetensors"))
    assert files == sorted(file.relative_to(other) for file in other.glob("task_*/**/*.safetensors"))
    assert files
    found = {}
    for file in files:
        mine, theirs = load_file(one / file), load_file(other / file)
        assert mine.keys() == theirs.keys()
        found[str(file)] = max([0.0, *((mine[name] - theirs[name]).abs().max().item() for name in mine)])
    return found


@pytest.mark.parametrize("kind", RANKS)
def test_two_processes_end_where_one_does(place, command, alone: Path, kind: str):
    done = together(place, command(f"devices_{kind}", *RANKS[kind]))
    assert [status for status, _ in done] == [0, 0], done[0][1] + done[1][1]
    found = distances(alone, place.folder / f"devices_{kind}")
    print(kind, found)
    assert max(found.values()) < 1e-5
