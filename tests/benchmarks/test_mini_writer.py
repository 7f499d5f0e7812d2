import json
from random import Random

import pytest
from PIL import Image

from coin_lightning.benchmarks.layout import ImageItems, Item
from coin_lightning.benchmarks.mini_suite import Task
from coin_lightning.benchmarks.mini_writer import write_task

pytestmark = pytest.mark.assets


def test_ground_truth_files_join_the_evaluation_samples(small_suite, samples_of):
    images = small_suite[0] / "cl_dataset"
    problems = json.loads((images / "ScienceQA/problems.json").read_text())
    splits = json.loads((images / "ScienceQA/pid_splits.json").read_text())
    assert set(problems) == {*splits["train"], *splits["val"], *splits["test"]}
    assert splits["test"] == [sample["question_id"] for sample in samples_of("ScienceQA", "test")]
    for sample in samples_of("ScienceQA", "test"):
        known = problems[sample["question_id"]]
        assert sample["answer"] == "ABCDE"[known["answer"]]
        assert f"({sample['answer']}) {known['choices'][known['answer']]}" in sample["text"]
        assert known["split"] == "test"
        assert (known["image"] is None) == ("image" not in sample)
    gqa = json.loads((images / "GQA/testdev_balanced_questions.json").read_text())
    assert {qid: entry["answer"] for qid, entry in gqa.items()} == {
        sample["question_id"]: sample["answer"] for sample in samples_of("GQA", "test")
    }
    text = json.loads((images / "TextVQA/TextVQA_0.5.1_val.json").read_text())["data"]
    assert [entry["question_id"] for entry in text] == [
        sample["question_id"] for sample in samples_of("TextVQA", "val")
    ]
    assert {len(entry["answers"]) for entry in text} == {10}


def test_text_only_questions_of_the_test_split_are_not_in_training(tmp_path):
    def draw(rng: Random, materials: object, split: str, index: int) -> ImageItems:
        return ImageItems(None, [Item(f"question {index % 7 if split == 'train' else index}", "A")])

    task = Task("toy", "Toy", "test", "Toy/{split}/{id}.jpg", draw)
    written = write_task(tmp_path, task, {"train": 7, "test": 3}, 0, None)  # type: ignore[arg-type]
    samples = json.loads((tmp_path / "Instructions_Original/Toy/test.json").read_text())
    assert sorted(sample["text"] for sample in samples) == ["question 7", "question 8", "question 9"]
    assert written.counts == {"train": {"rows": 7, "pictures": 0}, "test": {"rows": 3, "pictures": 0}}


def test_sample_limits_cut_inside_a_image_and_unused_images_are_not_written(tmp_path):
    def draw(rng: Random, materials: object, split: str, index: int) -> ImageItems:
        image = Image.new("RGB", (8, 8), (index, 0, 0))
        return ImageItems(image, [Item(f"{index}.{i}", "x") for i in range(0 if index == 1 else 3)])

    task = Task("toy", "Toy", "test", "Toy/{split}/{id}.jpg", draw, whole_number_ids=True)
    written = write_task(tmp_path, task, {"train": 4, "test": 3}, 0, None)  # type: ignore[arg-type]
    assert written.counts == {"train": {"rows": 4, "pictures": 2}, "test": {"rows": 3, "pictures": 1}}
    samples = json.loads((tmp_path / "Instructions_Original/Toy/train.json").read_text())
    found = {sample["id"]: (sample["image"], sample["conversations"][0]["value"]) for sample in samples}
    assert found == {
        "1000000": ("./Toy/train/100000.jpg", "<image>\n0.0"),
        "1000001": ("./Toy/train/100000.jpg", "<image>\n0.1"),
        "1000002": ("./Toy/train/100000.jpg", "<image>\n0.2"),
        "1000020": ("./Toy/train/100002.jpg", "<image>\n2.0"),
    }
    assert sorted(path.name for path in (tmp_path / "cl_dataset/Toy/train").iterdir()) == ["100000.jpg", "100002.jpg"]
