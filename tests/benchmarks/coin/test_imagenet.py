"""ImageNet samples from small folders: drawn and listed classes, both layouts of val; what is missing is told."""

from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin.imagenet import QUESTION, chosen, samples, sources
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample
from coin_lightning.errors import ConfigError, DataError

NAMES = {
    "n01440764": "tench, Tinca tinca",
    "n02012849": "crane",
    "n02027492": "red-backed sandpiper, dunlin, Erolia alpina",
    "n02096437": "Dandie Dinmont, Dandie Dinmont terrier",
    "n03126707": "crane",
    "n04355933": "sunglass",
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Six classes with two training images and one validation image each (in folders)."""
    (tmp_path / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} {name}\n" for wnid, name in NAMES.items()))
    for number, wnid in enumerate(NAMES):
        for place in (2, 1):
            touch(tmp_path / "train" / wnid / f"{wnid}_{place}.JPEG")
        touch(tmp_path / "train" / wnid / "readme.txt")
        touch(tmp_path / "val" / wnid / f"ILSVRC2012_val_{number + 1:08d}.JPEG")
    return tmp_path


def touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def flatten(raw: Path) -> None:
    for file in list((raw / "val").rglob("*.JPEG")):
        file.rename(raw / "val" / file.name)
        file.parent.rmdir()


def test_labels_are_the_first_synonym_capitalised(raw: Path):
    assert chosen(raw, "5", 0) == {
        "n01440764": "Tench", "n02012849": "Crane", "n02027492": "Red-backed sandpiper",
        "n02096437": "Dandie dinmont", "n03126707": "Crane", "n04355933": "Sunglass",
    }  # fmt: skip


def test_draw_depends_on_the_seed_alone_and_keeps_namesakes_together(raw: Path):
    draws = [chosen(raw, "2", seed) for seed in range(12)]
    assert draws == [chosen(raw, "2", seed) for seed in range(12)]
    assert len({tuple(draw) for draw in draws}) > 3
    for draw in draws:
        assert len(set(draw.values())) == 2
        assert ("n02012849" in draw) == ("n03126707" in draw)


def test_train_samples(raw: Path):
    found = list(samples(raw, "train", classes="5"))
    assert len(found) == 12
    assert found[:2] == [
        RawSample(f"n01440764_{n}.JPEG", f"ImageNet_withlabel/train/n01440764/n01440764_{n}.JPEG", QUESTION, "Tench")
        for n in (1, 2)
    ]


def test_a_list_of_classes_may_bring_its_labels(raw: Path, tmp_path: Path):
    file = tmp_path / "classes.txt"
    file.write_text("n04355933 Pair of sunglasses\n\nn01440764\n")
    assert {sample.id: sample.answer for sample in samples(raw, "test", classes=str(file))} == {
        "ILSVRC2012_val_00000001.JPEG": "Tench", "ILSVRC2012_val_00000006.JPEG": "Pair of sunglasses"
    }  # fmt: skip
    assert sources(raw, "test", classes=str(file)) == [raw / "LOC_synset_mapping.txt", file]
    file.write_text("n04355933\nn99999999\n")
    with pytest.raises(DataError, match=r"classes\.txt: class n99999999 is not in the list"):
        chosen(raw, str(file), 0)
    file.write_text("tench\n")
    with pytest.raises(DataError, match=r"classes\.txt line 1: must begin with a wnid"):
        chosen(raw, str(file), 0)


def test_flat_val_with_the_solution(raw: Path):
    in_folders = list(samples(raw, "test", classes="3", seed=1))
    flatten(raw)
    lines = [f"ILSVRC2012_val_{n + 1:08d},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for n, wnid in enumerate(NAMES)]
    (raw / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")
    flat = list(samples(raw, "test", classes="3", seed=1))
    assert [(sample.id, sample.answer) for sample in flat] == [(sample.id, sample.answer) for sample in in_folders]
    assert flat[0].image == f"ImageNet_withlabel/val/{flat[0].id}"
    assert sources(raw, "test", classes="5") == [raw / "LOC_synset_mapping.txt", raw / "LOC_val_solution.csv"]


def test_flat_val_with_numbers_and_their_meaning(raw: Path):
    in_folders = list(samples(raw, "test", classes="5"))
    flatten(raw)
    order = {wnid: 7 - place for place, wnid in enumerate(NAMES)}  # the numbering is not the alphabet's
    (raw / "map_clsloc.txt").write_text("".join(f"{wnid} {n} some_name\n" for wnid, n in order.items()))
    (raw / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{order[wnid]}\n" for wnid in NAMES))
    assert [(sample.id, sample.answer) for sample in samples(raw, "test", classes="5")] == [
        (sample.id, sample.answer) for sample in in_folders
    ]


def test_flat_val_problems(raw: Path):
    flatten(raw)
    with pytest.raises(DataError, match=r"the labels of the flat folder val.*LOC_val_solution\.csv"):
        list(samples(raw, "test", classes="5"))
    file = raw / "LOC_val_solution.csv"
    file.write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\nILSVRC2012_val_00000002\n")
    found = list(samples(raw, "test", classes="5"))
    assert isinstance(found[0], RawSample)
    texts = [problem.text for problem in found[1:] if isinstance(problem, Problem)]
    assert f"{file} line 3: '' is no class" in texts[0]
    assert len(texts) == 1 + 5
    assert "no image of class n04355933 (Sunglass)" in texts[-1]
    file.write_text("a,b\n")
    with pytest.raises(DataError, match="must begin with ImageId,PredictionString"):
        list(samples(raw, "test", classes="5"))


def test_missing_class_folder_is_told(raw: Path):
    for file in (raw / "train" / "n04355933").iterdir():
        file.unlink()
    *found, problem = samples(raw, "train", classes="5")
    assert len(found) == 10
    assert isinstance(problem, Problem)
    assert "no image of class n04355933 (Sunglass)" in problem.text


def test_wrong_number_of_classes(raw: Path):
    for wrong in ("0", "6"):
        with pytest.raises(ConfigError, match=r"has 5 labels; take 1 to 5"):
            chosen(raw, wrong, 0)
    with pytest.raises(ConfigError, match=r"classes=many: is neither a number nor a file"):
        chosen(raw, "many", 0)
