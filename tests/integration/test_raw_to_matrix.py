"""From the ten raw data sets to the matrix: `cli.data build`, `cli.data verify`, then a run over all eight tasks."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from coin_lightning.benchmarks import coin_mini
from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.cli import data

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "coin"))

from raw_mini import both_splits, write_raw

pytestmark = pytest.mark.assets
TRAIN, TEST = 32, 9  # samples of most tasks; of ImageNet half as many to train on, of ScienceQA twice as many


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """A very small CoIN-mini as the ten raw data sets."""
    mini = tmp_path_factory.mktemp("mini")
    coin_mini.build(mini, train_samples=2 * TRAIN, test_samples=TEST, caption_samples=1)
    return write_raw(mini, tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def built(raw: Path, tmp_path_factory) -> Path:
    """The suite that the command builds of it, in all three instruction types."""
    out = tmp_path_factory.mktemp("coin")
    assert data.main(["build", "task=all", f"raw={raw}", f"out={out}", f"classes={both_splits(raw)}"]) == 0
    return out


def test_build_writes_every_file(built: Path):
    for task in RAW_TASKS.values():
        for type_ in ("Original", "Diverse", "10Type"):
            for split in task.splits:
                samples = json.loads((built / f"Instructions_{type_}" / task.folder / f"{split}.json").read_text())
                assert 0 < len(samples) <= (2 * TRAIN if split == "train" else TEST)
        record = json.loads((built / "build" / task.folder / "build.json").read_text())
        assert len(record["files"]) == 6


def test_a_second_build_does_nothing(raw: Path, built: Path, capsys):
    files = sorted((built / "Instructions_10Type").rglob("*.json"))
    before = [file.stat().st_mtime_ns for file in files]
    assert data.main(["build", "task=all", f"raw={raw}", f"out={built}", f"classes={raw / 'classes.txt'}"]) == 0
    assert [file.stat().st_mtime_ns for file in files] == before
    assert capsys.readouterr().out.count("was there") == 16


def broken_refcoco(raw: Path, folder: Path) -> Path:
    """A copy of the raw RefCOCO sets in which a box of the first set leaves its image."""
    copy = shutil.copytree(raw / "refer", folder / "refer")
    (folder / "COCO2014").symlink_to(raw / "COCO2014")
    file = copy / "refcoco" / "instances.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = [0, 0, 9999, 5]
    file.write_text(json.dumps(content))
    return copy


def test_a_box_outside_its_image_is_told_or_skipped_and_listed(raw: Path, tmp_path: Path, capsys):
    command = ["build", "task=grounding", f"raw={broken_refcoco(raw, tmp_path)}", f"out={tmp_path / 'out'}"]
    files = tmp_path / "out" / "Instructions_Original" / "Grounding"
    assert data.main(command) == 1
    assert "box [0, 0, 9999, 5] leaves its image" in capsys.readouterr().err
    assert not (files / "train.json").exists()
    assert data.main([*command, "skip=true"]) == 0
    samples = json.loads((files / "train.json").read_text()) + json.loads((files / "test.json").read_text())
    skipped = json.loads((tmp_path / "out" / "build" / "Grounding" / "skipped.json").read_text())
    assert sum(split["count"] for split in skipped.values()) == 1
    assert sum(len(sample.get("conversations", "12")) // 2 for sample in samples) == TRAIN + TEST - 1


def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(raw: Path, tmp_path: Path, capsys):
    copy = broken_refcoco(raw, tmp_path)
    program = f"cposix\nsystem\n(S'touch {tmp_path / 'ran'}'\ntR."
    (copy / "refcoco" / "refs(unc).p").write_bytes(program.encode())
    assert data.main(["build", "task=grounding", f"raw={copy}", f"out={tmp_path / 'out'}"]) == 1
    assert "refs(unc).p: global posix.system is refused" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "out").rglob("train.json"))


@pytest.fixture(scope="module")
def overrides(built: Path, tmp_path_factory) -> list[str]:
    """What `verify` and the run share."""
    features = tmp_path_factory.mktemp("features")
    return ["scenario=coin", "backbone=tiny", f"paths.coin={built}", f"paths.features={features}", "num_threads=1"]


def test_verify_lets_a_run_start_and_shows_the_samples(built: Path, overrides: list[str], capsys):
    assert data.main(["verify", *overrides]) == 0
    assert "OCR-VQA" in capsys.readouterr().out
    page = (built / "verify" / "Instructions_Original.html").read_text()
    assert "bounding box coordinate" in page


def test_verify_stops_a_run_without_a_image(built: Path, overrides: list[str], capsys):
    file = built / "Instructions_Original" / "GQA" / "test.json"
    content = file.read_text()
    try:
        file.write_text(content.replace("GQA/images/", "GQA/images/gone_"))
        assert data.main(["verify", *overrides, "scenario.order=[gqa]"]) == 1
        assert "gone_" in capsys.readouterr().out
    finally:
        file.write_text(content)


def test_run_ends_with_a_matrix_over_all_eight_tasks(place, overrides: list[str]):
    run = place.folder / "raw_to_matrix"
    more = ["batches.size=4", "answers.batch_size=4", "optimizer.lr=1e-2", f"run_dir={run}"]
    small = ["adapter.rank=8", "adapter.alpha=16", "data.limit_train=8", "trainer.log_every_n_steps=1"]
    small += [f"scenario.tasks.{task}.answers.max_new_tokens=4" for task in RAW_TASKS]  # so small a model ends none
    status, text = place.runs.run([*overrides, *more, *small])
    assert status == 0, text
    matrix = json.loads((run / "matrix.json").read_text())
    assert matrix["tasks"] == list(RAW_TASKS)
    assert len(matrix["scores"]) == 9
    for after, row in enumerate(matrix["scores"]):
        assert [score is not None for score in row] == [after == 0 or task < after for task in range(8)]
    assert matrix["counts"][-1] == [TEST] * 8
    assert (run / "report.html").is_file()
