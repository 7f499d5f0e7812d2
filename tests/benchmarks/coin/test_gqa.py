"""GQA samples from hand-written questions, in one file or in parts; broken ones are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.gqa import samples, sources
from coin_lightning.benchmarks.coin.raw_sample import RawSample
from coin_lightning.errors import DataError

ENTRY = {
    "semantic": [{"operation": "select", "dependencies": [], "argument": "wall (722332)"}], "entailed": ["0"],
    "equivalent": ["02930152"], "question": "Is the sky dark?", "imageId": "2354786", "isBalanced": True,
    "groups": {"global": None, "local": "06-sky_dark"}, "answer": "yes", "semanticStr": "select: sky (2486325)",
    "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"}, "fullAnswer": "Yes, it is.",
}  # fmt: skip


def write(raw: Path, name: str = "train_balanced_questions.json", **questions: Any) -> Path:
    (raw / name).parent.mkdir(exist_ok=True, parents=True)
    (raw / name).write_text(json.dumps(questions))
    return raw


def test_questions_of_a_image_are_a_group(tmp_path):
    other = {**ENTRY, "question": "What is on the wall?", "answer": "pipe", "imageId": "n161313"}
    found = list(samples(write(tmp_path, **{"02930152": ENTRY, "07333408": other}), "train"))
    assert found == [
        RawSample("02930152", "GQA/images/2354786.jpg", "Is the sky dark?", "yes", "2354786"),
        RawSample("07333408", "GQA/images/n161313.jpg", "What is on the wall?", "pipe", "n161313"),
    ]


def test_parts_in_a_folder_are_read_in_the_order_of_their_numbers(tmp_path):
    for part in (10, 2, 0):
        write(
            tmp_path, f"questions/train_balanced_questions/train_balanced_questions_{part}.json", **{str(part): ENTRY}
        )
    assert [sample.id for sample in samples(tmp_path, "train")] == ["0", "2", "10"]
    assert len(sources(tmp_path, "train")) == 3


def test_test_is_testdev(tmp_path):
    raw = write(tmp_path, "questions1.2/testdev_balanced_questions.json", **{"201307251": ENTRY})
    assert [sample.id for sample in samples(raw, "test")] == ["201307251"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({**ENTRY, "answer": None}, "question 1: needs texts imageId, question and answer, found '2354786'"),
        ({key: value for key, value in ENTRY.items() if key != "imageId"}, "question 1: needs texts imageId"),
        ({**ENTRY, "question": 4}, "question 1: needs texts"),
        ([], "question 1: must be an object, found list"),
    ],
)
def test_a_broken_question_is_a_problem(tmp_path, entry, words):
    problem, sample = samples(write(tmp_path, **{"1": entry, "2": ENTRY}), "train")
    assert problem.text.startswith(str(tmp_path / "train_balanced_questions.json"))
    assert words in problem.text
    assert sample.id == "2"


def test_files_of_another_kind(tmp_path):
    with pytest.raises(DataError, match="GQA's balanced questions for test is missing"):
        list(samples(tmp_path, "test"))
    (tmp_path / "train_balanced_questions").mkdir()
    with pytest.raises(DataError, match="the folder holds no JSON file"):
        list(samples(tmp_path, "train"))
    write(tmp_path, **{"1": {**ENTRY, "isBalanced": False}})
    with pytest.raises(DataError, match="isBalanced is false, so this file has all questions"):
        list(samples(tmp_path, "train"))
    (tmp_path / "train_balanced_questions.json").write_text('{"1": {"question": "Is')
    with pytest.raises(DataError, match=r"malformed JSON \(behind item 0: parse error: premature EOF"):
        list(samples(tmp_path, "train"))
