"""Whole builds of hand-made raw folders: what lies where, what readers make of it, errors, going on after a kill."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from coin_lightning.benchmarks.coin import split_build
from coin_lightning.benchmarks.coin.build import build_task
from coin_lightning.benchmarks.coin.options import BuildOptions
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.tasks.samples import read_test, read_train
from coin_lightning.tasks.truth import GQAAnswers, TextVQAAnswers

SHORT = "Answer the question using a single word or phrase."


def question(image: str, text: str, answer: str) -> dict[str, Any]:
    return {"question": text, "imageId": image, "answer": answer, "isBalanced": True, "fullAnswer": "x", "types": {}}


TRAIN = {
    "01": question("11", "Is it day?", "yes"),
    "02": question("12", "What is red?", "car"),
    "03": question("11", "Who walks?", "man"),
}
TEST = {"91": question("n5", "Is it day?", "no"), "92": question("n5", "Which side?", "left")}


@pytest.fixture
def raw(tmp_path) -> Path:
    """A raw GQA folder with three images."""
    folder = tmp_path / "GQA"
    (folder / "images").mkdir(parents=True)
    for name in ("11", "12", "n5"):
        (folder / "images" / f"{name}.jpg").write_bytes(b"image")
    (folder / "train_balanced_questions.json").write_text(json.dumps(TRAIN))
    (folder / "testdev_balanced_questions.json").write_text(json.dumps(TEST))
    return folder


def load(root: Path, name: str) -> Any:
    return json.loads((root / name).read_text())


def test_gqa_from_end_to_end(raw, tmp_path):
    out = tmp_path / "coin"
    built = build_task("gqa", raw, out)
    assert [(split.split, split.samples, split.questions, split.fresh) for split in built] == [
        ("train", 2, 3, True), ("test", 2, 2, True),
    ]  # fmt: skip
    assert load(out, "Instructions_Original/GQA/train.json") == [
        {
            "id": "11",
            "image": "./GQA/images/11.jpg",
            "conversations": [
                {"from": "human", "value": f"<image>\nIs it day?\n{SHORT}"},
                {"from": "gpt", "value": "yes"},
                {"from": "human", "value": "Who walks?"},
                {"from": "gpt", "value": "man"},
            ],
        },
        {
            "id": "12",
            "image": "./GQA/images/12.jpg",
            "conversations": [
                {"from": "human", "value": f"<image>\nWhat is red?\n{SHORT}"},
                {"from": "gpt", "value": "car"},
            ],
        },
    ]
    diverse = "Respond to the question briefly, using only one word or a phrase."
    assert load(out, "Instructions_Diverse/GQA/test.json")[1] == {
        "question_id": "92", "image": "./GQA/images/n5.jpg", "text": f"Which side?\n{diverse}", "answer": "left",
    }  # fmt: skip
    texts = [sample["text"] for sample in load(out, "Instructions_10Type/GQA/test.json")]
    assert all(text.split("\n")[-1] not in (SHORT, diverse) for text in texts)
    assert load(out, "cl_dataset/GQA/testdev_balanced_questions.json") == TEST


def test_the_project_reads_what_was_built(raw, tmp_path):
    out = tmp_path / "coin"
    build_task("gqa", raw, out)
    images = out / "cl_dataset"
    trains = read_train(out / "Instructions_10Type/GQA/train.json", images)
    assert [(sample.id, sample.image, len(sample.turns)) for sample in trains] == [
        ("11", "GQA/images/11.jpg", 2), ("12", "GQA/images/12.jpg", 1),
    ]  # fmt: skip
    tests = list(read_test(out / "Instructions_Original/GQA/test.json", images))
    assert [reference["answer"] for reference in GQAAnswers()(tests, images)] == ["no", "left"]


def test_textvqa_ends_where_its_truth_is_read(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "coin"
    (raw / "train_images").mkdir(parents=True)
    (raw / "train_images" / "a1.jpg").touch()
    for split, id_ in (("train", 0), ("val", 34602)):
        entry = {"question_id": id_, "image_id": "a1", "question": "what brand?", "answers": ["dr pepper"] * 10}
        content = {"dataset_type": split, "data": [{**entry, "set_name": split}]}
        (raw / f"TextVQA_0.5.1_{split}.json").write_text(json.dumps(content))
    build_task("textvqa", raw, out)
    (sample,) = tests = list(read_test(out / "Instructions_Original/TextVQA/val.json", out / "cl_dataset"))
    assert sample.id == "34602"
    (reference,) = TextVQAAnswers()(tests, out / "cl_dataset")
    assert reference["answers"] == ["dr pepper"] * 10
    assert load(out, "Instructions_Original/TextVQA/val.json")[0]["question_id"] == 34602


def test_build_json_says_what_everything_was_made_of(raw, tmp_path):
    import hashlib

    out = tmp_path / "coin"
    build_task("gqa", raw, out, BuildOptions(types=("original",), seed=7))
    record = load(out, "build/GQA/build.json")
    assert set(record["files"]) == {"Instructions_Original/GQA/train.json", "Instructions_Original/GQA/test.json"}
    entry = record["files"]["Instructions_Original/GQA/train.json"]
    assert (entry["rows"], entry["questions"], entry["skipped"]) == (2, 3, 0)
    assert entry["sha256"] == hashlib.sha256((out / "Instructions_Original/GQA/train.json").read_bytes()).hexdigest()
    inputs = {"train_balanced_questions.json": hashlib.sha256(json.dumps(TRAIN).encode()).hexdigest()}
    assert entry["made_of"]["inputs"] == inputs
    assert entry["made_of"]["seed"] == 7


def test_the_second_call_has_nothing_to_do(raw, tmp_path):
    build_task("gqa", raw, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.json")}
    assert [split.fresh for split in build_task("gqa", raw, tmp_path)] == [False, False]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.json")} == before


def test_images_that_have_come_or_gone_since_make_another_build(raw, tmp_path):
    out, skipping = tmp_path / "coin", BuildOptions(skip=True)
    away = raw / "images" / "12.jpg"
    away.rename(tmp_path / "12.jpg")
    assert [(split.samples, split.skipped) for split in build_task("gqa", raw, out, skipping)] == [(1, 1), (2, 0)]
    (tmp_path / "12.jpg").rename(away)
    assert [(split.samples, split.skipped) for split in build_task("gqa", raw, out, skipping)] == [(2, 0), (2, 0)]
    away.unlink()
    with pytest.raises(DataError, match=r"12\.jpg is missing"):
        build_task("gqa", raw, out)


def test_imagenet_that_was_half_unpacked_is_built_again(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "coin"
    (raw / "LOC_synset_mapping.txt").parent.mkdir()
    (raw / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca tinca\n")
    for split, name in (("train", "n01440764_1.JPEG"), ("val", "ILSVRC2012_val_00000001.JPEG")):
        (raw / split / "n01440764").mkdir(parents=True)
        (raw / split / "n01440764" / name).touch()
    options = BuildOptions(options={"classes": "1"})
    assert build_task("imagenet", raw, out, options)[0].samples == 1
    (raw / "train" / "n01440764" / "n01440764_2.JPEG").touch()
    built = build_task("imagenet", raw, out, options)[0]
    assert (built.samples, built.fresh) == (2, True)


def test_copies_are_made_whatever_an_earlier_build_has_done(raw, tmp_path):
    out = tmp_path / "coin"
    images = out / "cl_dataset" / "GQA" / "images"
    build_task("gqa", raw, out)
    with pytest.raises(DataError, match=r"GQA.images: is a link to .* remove it to have copies"):
        build_task("gqa", raw, out, BuildOptions(images="copy"))
    images.unlink()
    build_task("gqa", raw, out, BuildOptions(images="copy"))
    assert sorted(file.name for file in images.iterdir() if not file.is_symlink()) == ["11.jpg", "12.jpg", "n5.jpg"]
    (images / "11.jpg").unlink()
    build_task("gqa", raw, out, BuildOptions(images="copy"))
    assert (images / "11.jpg").read_bytes() == b"image"


def test_a_killed_build_goes_on_where_it_was(raw, tmp_path):
    out, whole = tmp_path / "coin", tmp_path / "whole"
    child = os.fork()
    if child == 0:  # dies in the middle of the test split
        sample = split_build.test_sample

        def killing(turn, *args):
            if turn.id == "92":
                os.kill(os.getpid(), signal.SIGKILL)
            return sample(turn, *args)

        split_build.test_sample = killing
        build_task("gqa", raw, out)
        os._exit(3)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    train = out / "Instructions_10Type/GQA/train.json"
    assert [sample["id"] for sample in json.loads(train.read_text())] == ["11", "12"]
    assert not (out / "Instructions_10Type/GQA/test.json").exists()
    assert (out / "Instructions_10Type/GQA/.test.json.part").exists()
    before = train.stat().st_ino
    assert [split.fresh for split in build_task("gqa", raw, out)] == [False, True]
    assert train.stat().st_ino == before
    assert not list(out.rglob("*.part"))
    build_task("gqa", raw, whole)
    for file in whole.rglob("Instructions_*/GQA/*.json"):
        assert (out / file.relative_to(whole)).read_bytes() == file.read_bytes()


def test_problems_of_both_splits_come_together(raw, tmp_path):
    (raw / "images" / "12.jpg").unlink()
    (raw / "testdev_balanced_questions.json").write_text(json.dumps({**TEST, "93": {"imageId": "n5"}}))
    with pytest.raises(DataError, match="2 problems in the data") as caught:
        build_task("gqa", raw, tmp_path / "coin")
    assert "id 02: image" in caught.value.problems[0]
    assert "question 93: needs texts imageId, question and answer" in caught.value.problems[1]
    built = build_task("gqa", raw, tmp_path / "coin", BuildOptions(skip=True))
    assert [(split.samples, split.questions, split.skipped) for split in built] == [(1, 2, 1), (2, 2, 1)]
    skipped = load(tmp_path / "coin", "build/GQA/skipped.json")
    assert {split: entry["count"] for split, entry in skipped.items()} == {"train": 1, "test": 1}


def test_a_good_split_is_kept_when_the_other_fails(raw, tmp_path):
    (raw / "testdev_balanced_questions.json").write_text(json.dumps(TEST)[:-20])
    with pytest.raises(DataError, match="premature EOF"):
        build_task("gqa", raw, tmp_path / "coin")
    (raw / "testdev_balanced_questions.json").write_text(json.dumps(TEST))
    assert [split.fresh for split in build_task("gqa", raw, tmp_path / "coin")] == [False, True]


def test_missing_files_of_both_splits_are_named_before_anything_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        build_task("gqa", tmp_path / "empty", tmp_path / "coin")
    assert ["for train" in caught.value.problems[0], "for test" in caught.value.problems[1]] == [True, True]
    assert not list((tmp_path / "coin").rglob("*.json"))


def test_draws_are_the_same_whatever_else_is_in_the_file(raw, tmp_path):
    build_task("gqa", raw, tmp_path / "all", BuildOptions(seed=5))
    (raw / "testdev_balanced_questions.json").write_text(json.dumps({"92": TEST["92"]}))
    build_task("gqa", raw, tmp_path / "one", BuildOptions(seed=5))
    name = "Instructions_10Type/GQA/test.json"
    assert load(tmp_path / "one", name) == load(tmp_path / "all", name)[1:]


def test_a_busy_folder_and_unknown_names(raw, tmp_path):
    (tmp_path / "build" / "GQA").mkdir(parents=True)
    with (
        FileLock(tmp_path / "build" / "GQA" / ".lock"),
        pytest.raises(DataError, match="another process is building GQA"),
    ):
        build_task("gqa", raw, tmp_path)
    with pytest.raises(ConfigError, match="task=gqq: there is no such task; choose from scienceqa, textvqa"):
        build_task("gqq", raw, tmp_path)
    with pytest.raises(ConfigError, match="ocr: gqa has no such option, only none"):
        build_task("gqa", raw, tmp_path, BuildOptions(options={"ocr": "x"}))
    with pytest.raises(ConfigError, match="ocr=x: choose from none, rosetta"):
        build_task("textvqa", raw, tmp_path, BuildOptions(options={"ocr": "x"}))
