"""Samples whose placeholders and images disagree are refused by run and verify; what is only odd is counted, shown."""

import json
from pathlib import Path

import pytest

from coin_lightning.cli import data_verify
from small_coin import answer_file, edit_samples, overrides, train_file, write_suite

TASKS = "gqa,imagenet"


def spoil(root: Path) -> None:
    """Every way to lose an image without a word."""

    def train(samples):
        samples[0]["images"] = [samples[0].pop("image")]
        samples[1]["conversations"][0]["value"] = "Compare <image> with <image>."
        samples[2]["conversations"][0]["value"] = "<image> stands where?"
        del samples[2]["image"]
        samples[3]["conversations"][0]["value"] = "And without?"

    edit_samples(train_file(root, "gqa"), train)
    edit_samples(answer_file(root, "imagenet"), lambda samples: samples[1].update(image_path=samples[1].pop("image")))


def mend(root: Path) -> None:
    """What the messages ask for."""

    def train(samples):
        samples[0]["image"] = samples[0].pop("images")[0]
        samples[1]["conversations"][0]["value"] = "<image>\nCompare it with nothing."
        samples[2]["conversations"][0]["value"] = "stands where?"
        samples[3]["conversations"][0]["value"] = "<image>\nAnd without?"

    edit_samples(train_file(root, "gqa"), train)
    edit_samples(
        answer_file(root, "imagenet"), lambda samples: samples[1].update(image=samples[1].pop("image_path"), licence="")
    )


WORDS = [
    ("GQA/train.json sample 0", "'images' is not read: paths of a sample's images belong in field 'image'"),
    ("GQA/train.json sample 1", "has 2 <image>, but field 'image' names 1 image"),
    ("GQA/train.json sample 2", "has 1 <image>, but no image"),
    ("GQA/train.json sample 3", "has an image, but no <image>"),
    ("ImageNet/test.json sample 1", "'image_path' is not read"),
]


def missing(text: str) -> list[tuple[str, str]]:
    lines = text.splitlines()
    return [words for words in WORDS if not any(all(word in line for word in words) for line in lines)]


def verified(root: Path, tmp_path: Path) -> list[dict]:
    command = overrides(root, tmp_path / "features", tmp_path / "run", "scenario.builder=null", tasks=TASKS)
    data_verify.main([*command, f"output={tmp_path / 'page.html'}"])
    return [each for task in json.loads((tmp_path / "page.json").read_text())["tasks"] for each in task["findings"]]


def test_disagreements_are_refused_and_the_remedies_work(place, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = write_suite(tmp_path / "suite", train=4, test=2)
    spoil(root)
    command = overrides(root, place.cache, tmp_path / "run", tasks=TASKS)
    status, text = place.runs.run(command)
    assert status == 1
    assert missing(text) == [], text
    samples = [each for each in verified(root, tmp_path) if each["kind"] == "samples"]
    assert missing("\n".join(line for each in samples for line in each["examples"])) == []
    mend(root)
    status, text = place.runs.run(command)
    assert status == 0, text
    notes = json.loads((tmp_path / "run" / "matrix.json").read_text())["notes"]
    assert "gqa: 1 of 4 training samples have no image." in notes
    assert "imagenet: 1 test samples have a field 'licence', which nothing reads." in notes
    found = {(each["kind"], each["split"]): each for each in verified(root, tmp_path)}
    assert (found["no_image", "train"]["level"], found["no_image", "train"]["count"]) == ("note", 1)
    assert found["unread_field", "test"]["examples"] == [f"{answer_file(root, 'imagenet')}: 'licence' in 1 samples"]


def test_scienceqa_may_have_samples_without_a_image(place, undisturbed: Path):
    assert (
        "scienceqa: 10 of 20 training samples have no image."
        in json.loads((undisturbed / "matrix.json").read_text())["notes"]
    )
