from collections import Counter
from random import Random

import pytest

from coin_lightning.benchmarks.layout import Entry, Item
from coin_lightning.benchmarks.mini_textvqa import ten_answers, textvqa, textvqa_annotations


def test_ten_answers_mostly_agree():
    for seed in range(30):
        answers = ten_answers(Random(seed), "GRAND Hotel")
        counts = Counter(answers)
        assert len(answers) == 10
        assert counts["grand hotel"] >= 7
        assert set(counts) <= {"grand hotel", "GRAND Hotel", "grand", "hotel", "unanswerable"}


def test_annotations_have_textvqas_fields():
    item = Item("t", "Exit", {"question": "what does the sign say?", "answers": ["exit"] * 10})
    file = textvqa_annotations([Entry(5000001, "./TextVQA/train_images/000000000007a120.jpg", item)])
    assert (file["dataset_name"], file["dataset_type"], file["dataset_version"]) == ("textvqa", "val", "0.5.1")
    assert file["data"] == [
        {
            "question_id": 5000001,
            "question": "what does the sign say?",
            "image_id": "000000000007a120",
            "answers": ["exit"] * 10,
            "set_name": "val",
        }
    ]


@pytest.mark.assets
def test_answers_are_among_the_ocr_tokens_and_name_one_sign(materials):
    for index in range(40):
        items = textvqa(Random(index), materials, "train", index).items
        assert len({item.text for item in items}) == len(items)
        for item in items:
            question, line, instruction = item.text.split("\n")
            assert question == item.truth["question"] == question.lower()
            tokens = line.removeprefix("Reference OCR token: ").split(", ")
            assert set(item.answer.split()) <= set(tokens)
            assert instruction == "Answer the question using a single word or phrase."
            assert ("number" in question) == item.answer.isdigit()
