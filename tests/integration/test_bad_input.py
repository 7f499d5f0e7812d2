"""Unusable data and configs end with status 1 and every problem named, before training, and nothing is touched."""

import json
import signal
from pathlib import Path

import pytest
from PIL import Image

from small_coin import answer_file, edit_samples, overrides, train_file, write_suite

TASKS = "imagenet,gqa,vqav2,scienceqa"


def state(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """All files but the one that says why the last start failed."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "failed.json"]
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def spoil(root: Path) -> None:
    """Ten faults in three of the four tasks."""

    def imagenet(samples):
        samples[0]["image"] = "./shared/gone.jpg"
        samples[1]["image"] = "../outside.jpg"
        samples[2]["image"] = "./broken.jpg"
        samples[3]["image"] = "./wide.png"
        samples[4]["id"] = samples[5]["id"]

    def gqa(samples):
        samples[0]["conversations"][1]["value"] = "long " * 300
        del samples[1]["conversations"]
        samples[2]["conversations"][1]["value"] = " "

    edit_samples(train_file(root, "imagenet"), imagenet)
    edit_samples(train_file(root, "gqa"), gqa)
    edit_samples(answer_file(root, "scienceqa"), lambda samples: samples[2].update(question_id="4711"))
    edit_samples(answer_file(root, "scienceqa"), lambda samples: samples[3].pop("text"))
    train_file(root, "vqav2").write_text('[{"id": "a"')
    (root / "cl_dataset" / "broken.jpg").write_bytes(b"no image")
    Image.new("1", (200, 2)).save(root / "cl_dataset" / "wide.png")


@pytest.fixture(scope="module")
def refused(place, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, bool]:
    """A run is killed in its second task, its data are spoilt, it is started again: status, text, nothing changed."""
    folder = tmp_path_factory.mktemp("bad")
    root, run = write_suite(folder / "suite"), folder / "run"
    command = overrides(root, place.cache, run, tasks=TASKS)
    status, text = place.runs.run([*command, *place.kill(2, "train", 3)])
    assert status == -signal.SIGKILL, text
    before = state(run)
    spoil(root)
    ended = place.runs.run(command)
    assert "GQA/train.json sample 2" in json.loads((run / "failed.json").read_text())["error"]
    return *ended, state(run) == before


@pytest.mark.parametrize(
    "named",
    [
        ("ImageNet/train.json sample 0", "gone.jpg is missing"),
        ("ImageNet/train.json sample 1", "'../outside.jpg' leaves the image folder"),
        ("ImageNet/train.json sample 5", "id 'imagenet_5' is already used by sample 4"),
        ("GQA/train.json sample 1", "'conversations' must be a list"),
        ("GQA/train.json sample 2", "has an empty answer"),
        ("VQAv2/train.json", "malformed JSON"),
        ("ScienceQA/test.json sample 3", "'text' is missing"),
    ],
)  # fmt: skip
def test_problems_of_all_tasks_are_listed_together(refused, named: tuple[str, str]):
    status, text, _ = refused
    assert status == 1
    assert any(all(part in line for part in named) for line in text.splitlines()), text


def test_nothing_already_computed_is_touched(refused):
    assert refused[2]
    assert "learning" not in refused[1]
    assert "Traceback" not in refused[1]


def test_images_and_lengths_are_refused_before_training(place, tmp_path: Path):
    """What can only be seen once the samples are readable."""
    root = write_suite(tmp_path / "suite")

    def change(samples):
        samples[0]["conversations"][1]["value"] = "long " * 300
        samples[1]["image"], samples[2]["image"] = "./broken.jpg", "./wide.png"

    edit_samples(train_file(root, "gqa"), change)
    (root / "cl_dataset" / "broken.jpg").write_bytes(b"no image")
    Image.new("1", (200, 2)).save(root / "cl_dataset" / "wide.png")
    edit_samples(answer_file(root, "scienceqa"), lambda samples: samples[2].update(question_id="4711"))
    command = overrides(root, place.cache, tmp_path / "run", tasks="gqa,scienceqa")
    status, text = place.runs.run(command)
    assert status == 1
    for words in (
        ("GQA/train.json sample 0", "do not fit backbone.max_length=1024"),
        ("GQA/train.json sample 1", "broken.jpg", "cannot be opened"),
        ("GQA/train.json sample 2", "200 x 2 pixels is refused"),
        ("ScienceQA/test.json sample 2", "'4711'"),
    ):
        assert any(all(word in line for word in words) for line in text.splitlines()), text
    assert not list((tmp_path / "run").glob("task_*"))


def test_a_folder_without_results_takes_a_mended_config(place, tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=4, test=1)
    train_file(root, "gqa").write_text("{}")
    command = overrides(root, place.cache, tmp_path / "run", tasks="gqa")
    assert place.runs.run([*command, "optimizer.lr=1e-3"])[0] == 1
    samples = json.loads(train_file(root, "imagenet").read_text())
    train_file(root, "gqa").write_text(json.dumps(samples))
    status, text = place.runs.run(command)
    assert status == 0, text
