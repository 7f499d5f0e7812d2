"""What many tests need: a tiny backbone, a task folder in CoIN's layout, and whole runs on a very small suite."""

import gc
import json
import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core: threads of two would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.setdefault("COIN_LIGHTNING_TRUST", "probes")  # the helper of that name, which configs of test runs name

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from coin_lightning.backbones.base import Backbone

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file, whatever import mode pytest uses

from forked_runs import Runs, quicken
from ranks import together
from small_coin import overrides, write_suite

COLOURS = ("red", "green", "blue", "white", "black", "orange")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole commands first, so that no worker is left alone with them at the end."""
    slow = {item.path for item in items if "place" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection(session: pytest.Session) -> None:
    """What test files import is never garbage: until all are read the collector rests, as in `importing`.

    A process that only hands out tests imports nothing: it begins ten seconds earlier.
    """
    gc.disable()
    if session.config.getoption("dist", "no") == "no" or hasattr(session.config, "workerinput"):
        quicken()


def pytest_collection_finish() -> None:
    """And later it leaves all of that alone."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def backbone() -> "Backbone":
    """A fresh tiny backbone, which a test may wrap with an adapter."""
    from coin_lightning.backbones import tiny

    return tiny.load(max_length=256)


@pytest.fixture
def write_task(tmp_path: Path) -> Callable[..., Path]:
    """Write `<tmp>/data` with one task folder `Toy`; every third sample has no image. Gives the root."""

    def write(train: int = 8, test: int = 5) -> Path:
        root = tmp_path / "data"
        images, folder = root / "cl_dataset", root / "Instructions_Original" / "Toy"
        images.mkdir(parents=True)
        folder.mkdir(parents=True)
        for at, colour in enumerate(COLOURS):
            Image.new("RGB", (20 + 8 * at, 28), colour).save(images / f"{colour}.png")
        samples = [_sample(f"n{at}", at, f"Say {'so ' * (at % 4)}{at}.", str(at * 7)) for at in range(train)]
        tests = [
            {**_image(at), "question_id": f"t{at}", "text": "Which" + " one" * at, "answer": COLOURS[at % 6]}
            for at in range(test)
        ]
        (folder / "train.json").write_text(json.dumps(samples))
        (folder / "test.json").write_text(json.dumps(tests))
        return root

    return write


def _image(at: int) -> dict[str, str]:
    return {} if at % 3 == 2 else {"image": f"./{COLOURS[at % 6]}.png"}


def _sample(name: str, at: int, question: str, answer: str) -> dict:
    image = _image(at)
    parts = [{"from": "human", "value": ("<image>\n" if image else "") + question}, {"from": "gpt", "value": answer}]
    return {**image, "id": name, "conversations": parts}


@dataclass(frozen=True)
class Place:
    """One small suite (see `small_coin`), and a server of runs on it (see `forked_runs`)."""

    runs: Runs
    suite: Path
    cache: Path
    folder: Path

    def command(self, name: str, *more: str, tasks: str = "scienceqa,textvqa,imagenet") -> list[str]:
        """Arguments of the run that writes to `<folder>/<name>`."""
        return overrides(self.suite, self.cache, self.folder / name, *more, tasks=tasks)

    def short(self, name: str, *more: str) -> list[str]:
        """As `command`, of two tasks, lower triangle, two answers each."""
        return self.command(name, "data.limit_test=2", *more, tasks="scienceqa,textvqa")

    def brief(self, name: str, *more: str, tasks: str = "gqa") -> list[str]:
        """As `command`, where it does not matter what is learned: two steps per task, one answer."""
        small = ["data.limit_train=8", "batches.epochs=1", "data.limit_test=1"]
        return self.command(name, *small, *more, tasks=tasks)

    def kill(self, position: int, moment: str, step: int = 0) -> list[str]:
        """Arguments that end a run with SIGKILL; see `probes.KillAt`."""
        values = {"_target_": "probes.KillAt", "position": position, "moment": moment, "step": step}
        return [f"+callbacks.kill.{key}={value}" for key, value in values.items()]

    def record(self, name: str) -> list[str]:
        """Arguments that make `probes.Recorder` write to `<folder>/<name>`."""
        return ["+callbacks.probe._target_=probes.Recorder", f"+callbacks.probe.folder={self.folder / name}"]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The suite and the server."""
    folder = tmp_path_factory.mktemp("small_coin")
    runs = Runs(folder)
    yield Place(runs, write_suite(folder / "suite"), folder / "features", folder)
    runs.close()


@pytest.fixture(scope="session")
def undisturbed(place: Place) -> Path:
    """Run folder of three tasks, all cells, never killed; `recorded` beside it is what `probes.Recorder` saw."""
    status, text = place.runs.run(place.command("undisturbed", "evaluation=full", *place.record("recorded")), PAGE="1")
    assert status == 0, text
    (place.folder / "undisturbed.txt").write_text(text)
    return place.folder / "undisturbed"


@pytest.fixture(scope="session")
def short(place: Place) -> Path:
    """Run folder of `place.short`, never killed."""
    status, text = place.runs.run(place.short("short"))
    assert status == 0, text
    return place.folder / "short"


@dataclass(frozen=True)
class Ranked:
    """Runs of two gloo processes on one task with dropout, batches of two samples per rank."""

    place: Place
    undisturbed: Path

    def command(self, name: str, *more: str) -> list[str]:
        """Arguments of the run that writes to `<folder>/<name>`."""
        return ranked_command(self.place, name, *more)


def ranked_command(place: Place, name: str, *more: str) -> list[str]:
    """See `Ranked.command`."""
    devices = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "batches.size=2"]
    return place.command(name, *devices, "data.limit_test=2", *more, tasks="scienceqa")


@pytest.fixture(scope="session")
def ranked(place: Place) -> Ranked:
    """One such run, never disturbed."""
    done = together(place, ranked_command(place, "ranked"))
    assert [status for status, _ in done] == [0, 0], done
    return Ranked(place, place.folder / "ranked")
