"""VQAv2 samples: questions joined with annotations by id, in any order; what does not join is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample
from coin_lightning.benchmarks.coin.vqav2 import samples, sources
from coin_lightning.errors import DataError


def question(id_: int, image: int, text: str = "What is this photo taken looking through?") -> dict[str, Any]:
    return {"image_id": image, "question": text, "question_id": id_}


def annotation(id_: int, image: int, *answers: str, kind: str = "other") -> dict[str, Any]:
    said = [*answers, *[answers[-1]] * (10 - len(answers))]
    listed = [{"answer": text, "answer_confidence": "yes", "answer_id": place + 1} for place, text in enumerate(said)]
    return {
        "question_type": "what is this", "multiple_choice_answer": said[0], "answers": listed, "image_id": image,
        "answer_type": kind, "question_id": id_,
    }  # fmt: skip


def write(raw: Path, questions: Any, annotations: Any, split: str = "train", subtype: str | None = None) -> Path:
    raw.mkdir(exist_ok=True)
    head = {"info": {"year": 2017}, "data_type": "mscoco", "data_subtype": subtype or f"{split}2014", "license": {}}
    names = [f"v2_OpenEnded_mscoco_{split}2014_questions.json", f"v2_mscoco_{split}2014_annotations.json"]
    (raw / names[0]).write_text(json.dumps({**head, "task_type": "Open-Ended", "questions": questions}))
    (raw / names[1]).write_text(json.dumps({**head, "annotations": annotations}))
    return raw


def test_samples_are_joined_by_id_not_by_place(tmp_path):
    questions = [question(458752000, 458752), question(458752001, 458752, "What position?"), question(9000, 9)]
    annotations = [
        annotation(9000, 9, "yes", "no", kind="yes/no"),
        annotation(458752000, 458752, "net"),
        annotation(458752001, 458752, "pitcher", "catcher"),
    ]
    found = {sample.id: sample for sample in samples(write(tmp_path, questions, annotations), "train")}
    image = "COCO2014/train2014/COCO_train2014_000000458752.jpg"
    assert found[458752000] == RawSample(
        458752000, image, "What is this photo taken looking through?", "net", "458752",
        {"answers": ["net"] * 10, "answer_type": "other"},
    )  # fmt: skip
    assert found[458752001].answer == "pitcher"
    assert found[458752001].fields["answers"] == ["pitcher"] + ["catcher"] * 9
    assert found[9000].image == "COCO2014/train2014/COCO_train2014_000000000009.jpg"
    assert found[9000].fields["answer_type"] == "yes/no"
    assert len(found) == 3


def test_val_has_its_own_files_and_images(tmp_path):
    raw = write(tmp_path, [question(5, 42)], [annotation(5, 42, "2")], "val")
    (sample,) = samples(raw, "val")
    assert sample.image == "COCO2014/val2014/COCO_val2014_000000000042.jpg"
    assert [file.name for file in sources(raw, "val")] == [
        "v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json",
    ]  # fmt: skip


def test_ids_that_do_not_join(tmp_path):
    raw = write(
        tmp_path, [question(1, 1), question(2, 1), question(2, 1)], [annotation(2, 1, "a"), annotation(3, 1, "b")]
    )
    found = list(samples(raw, "train"))
    assert [sample.id for sample in found if isinstance(sample, RawSample)] == [2]
    texts = sorted(sample.text for sample in found if isinstance(sample, Problem))
    assert len(texts) == 3
    assert "_questions.json question_id 1: has no partner in v2_mscoco_train2014_annotations.json" in texts[0]
    assert "_questions.json question_id 2: has no partner" in texts[1]
    assert "_annotations.json question_id 3: has no partner in v2_OpenEnded_mscoco_train2014_questions.json" in texts[2]


@pytest.mark.parametrize(
    ("asked", "said", "words"),
    [
        (question(1, 1), {**annotation(1, 1, "a"), "answers": ["a"] * 9}, "10 annotators, found 9"),
        (question(1, 1), annotation(1, 8, "a"), "is about image 1, its annotation about 8"),
        (question(1, 1), {**annotation(1, 1, "a"), "multiple_choice_answer": None}, "needs image_id, question and"),
        ({**question(1, 1), "image_id": "1"}, annotation(1, 1, "a"), "needs image_id, question and"),
    ],
)  # fmt: skip
def test_a_broken_record_is_a_problem(tmp_path, asked, said, words):
    raw = write(tmp_path, [asked, question(2, 1)], [said, annotation(2, 1, "b")])
    problem, sample = samples(raw, "train")
    assert "v2_OpenEnded_mscoco_train2014_questions.json question_id 1: " in problem.text
    assert words in problem.text
    assert sample.answer == "b"


def test_files_of_another_split(tmp_path):
    with pytest.raises(DataError, match="VQAv2's train questions is missing"):
        list(samples(tmp_path, "train"))
    raw = write(tmp_path, [question(1, 1)], [annotation(1, 1, "a")], "train", subtype="val2014")
    with pytest.raises(DataError, match="data_subtype is 'val2014', wanted train2014"):
        list(samples(raw, "train"))
    raw = write(tmp_path, [{"question": "?"}], [annotation(1, 1, "a")])
    with pytest.raises(DataError, match=r"questions\[0\]: has no question_id"):
        list(samples(raw, "train"))
