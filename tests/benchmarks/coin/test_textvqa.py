"""TextVQA samples from hand-written annotations; broken ones are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample
from coin_lightning.benchmarks.coin.textvqa import RAW, samples, sources
from coin_lightning.errors import ConfigError, DataError

ENTRY = {
    "question": "what is the brand of phone?", "image_id": "0054c91397f2fe05", "image_classes": ["Belt"],
    "flickr_original_url": "x", "image_width": 1024, "image_height": 730, "question_tokens": ["what"],
    "answers": ["nokia", "Nokia", "nokia", "nokia", "toshiba", "nokia", "nokia", "nokia", "nokia", "nokia"],
    "question_id": 0, "set_name": "train",
}  # fmt: skip


def write(raw: Path, *entries: Any, split: str = "train", key: str = "data") -> Path:
    raw.mkdir(exist_ok=True)
    content = {"dataset_type": split, "dataset_name": "textvqa", "dataset_version": "0.5.1", key: list(entries)}
    (raw / f"TextVQA_0.5.1_{split}.json").write_text(json.dumps(content))
    return raw


def test_question_answer_and_image(tmp_path):
    other = {**ENTRY, "question_id": 34601, "answers": ["Ale"] * 4 + ["pale ale"] * 5 + ["ale"]}
    found = list(samples(write(tmp_path, ENTRY, other), "train"))
    image = "TextVQA/train_images/0054c91397f2fe05.jpg"
    assert found == [
        RawSample(0, image, "what is the brand of phone?", "nokia"),
        RawSample(34601, image, "what is the brand of phone?", "Ale"),  # 5 of "ale", capitals aside, come first
    ]
    assert all(sample.group is None for sample in found)  # every question is a sample of its own


def test_val_samples_have_the_same_form(tmp_path):
    raw = write(tmp_path, {**ENTRY, "set_name": "val", "question_id": 34602}, split="val")
    (sample,) = samples(raw, "val")
    assert (sample.id, sample.answer, sample.image) == (34602, "nokia", "TextVQA/train_images/0054c91397f2fe05.jpg")
    assert sources(raw, "val") == [raw / "TextVQA_0.5.1_val.json"]
    assert list(RAW.truths) == ["TextVQA/TextVQA_0.5.1_val.json"]


def test_ocr_words_stand_below_the_question(tmp_path):
    ocr = {"data": [{"image_id": "0054c91397f2fe05", "ocr_tokens": ["NOKIA", "a, b", "7"], "ocr_info": []}]}
    raw = write(tmp_path, ENTRY, {**ENTRY, "question_id": 1, "image_id": "unread"})
    (raw / "TextVQA_Rosetta_OCR_v0.2_train.json").write_text(json.dumps(ocr))
    first, second = samples(raw, "train", ocr="rosetta")
    assert first.question == "what is the brand of phone?\nReference OCR token: NOKIA, a, b, 7"
    assert isinstance(second, Problem)
    assert "(question_id 1): image_id 'unread' is not in the OCR file" in second.text
    assert next(samples(raw, "train")).question == "what is the brand of phone?"
    with pytest.raises(ConfigError, match="ocr=yes: choose from none, rosetta"):
        list(samples(raw, "train", ocr="yes"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answers": ["a"] * 9}, "(question_id 0): 'answers' must list the answers of 10 annotators, found 9"),
        ({"answers": None}, "10 annotators, found NoneType"),
        ({"image_id": 7}, "needs question_id, image_id and question"),
        ({"question": None}, "needs question_id, image_id and question"),
        ({"question_id": None}, "needs question_id, image_id and question"),
    ],
)
def test_a_broken_entry_is_a_problem_and_the_next_a_sample(tmp_path, change, words):
    raw = write(tmp_path, {**ENTRY, **change}, {**ENTRY, "question_id": 9})
    problem, sample = samples(raw, "train")
    assert problem.text.startswith(f"{raw / 'TextVQA_0.5.1_train.json'} data[0]")
    assert words in problem.text
    assert sample.id == 9


def test_an_entry_that_is_no_object(tmp_path):
    (problem,) = samples(write(tmp_path, "text"), "train")
    assert "data[0]: must be an object, found str" in problem.text


def test_files_of_another_kind(tmp_path):
    with pytest.raises(DataError, match="TextVQA's train file is missing"):
        list(samples(tmp_path, "train"))
    raw = write(tmp_path / "val as train", {**ENTRY, "set_name": "val"})
    with pytest.raises(DataError, match="set_name is 'val', so this is not the train file"):
        list(samples(raw, "train"))
    raw = write(tmp_path / "other", ENTRY, key="entries")
    with pytest.raises(DataError, match="has no member 'data', only 'dataset_type', 'dataset_name'"):
        list(samples(raw, "train"))
