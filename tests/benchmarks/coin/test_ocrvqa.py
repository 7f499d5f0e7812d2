"""OCR-VQA samples from hand-written books; broken ones are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.ocrvqa import samples
from coin_lightning.benchmarks.coin.raw_sample import RawSample
from coin_lightning.errors import DataError

BOOK = {
    "imageURL": "http://example.org/I/61Y5cOdHJbL.jpg", "title": "Mom's Calendar", "authorName": "Sandra B.",
    "questions": ["Who wrote this book?", "What is the year printed on this calendar?"],
    "answers": ["Sandra B.", 2015], "genre": "Calendars", "split": 1,
}  # fmt: skip


def write(raw: Path, **books: Any) -> Path:
    (raw / "dataset.json").write_text(json.dumps(books))
    return raw


def test_questions_of_a_book_are_a_group(tmp_path):
    raw = write(tmp_path, **{"761183272": BOOK, "9": {**BOOK, "split": 3}, "8": {**BOOK, "split": 2}})
    image = "OCR-VQA/images/761183272.jpg"
    assert list(samples(raw, "train")) == [
        RawSample("761183272_0", image, "Who wrote this book?", "Sandra B.", "761183272"),
        RawSample("761183272_1", image, "What is the year printed on this calendar?", "2015", "761183272"),
    ]
    assert [sample.id for sample in samples(raw, "test")] == ["9_0", "9_1"]


def test_the_suffix_is_that_of_the_url_unless_unpacked_as_jpg(tmp_path):
    gif = {**BOOK, "imageURL": "http://example.org/I/x.gif", "questions": ["Q?"], "answers": ["A"]}
    raw = write(tmp_path, a=gif, b=gif, c=gif, d={**gif, "imageURL": None})
    (raw / "images").mkdir()
    for name in ("a.gif", "b.gif", "b.jpg"):
        (raw / "images" / name).touch()
    names = [str(sample.image).removeprefix("OCR-VQA/images/") for sample in samples(raw, "train")]
    assert names == ["a.gif", "b.jpg", "c.jpg", "d.jpg"]


@pytest.mark.parametrize(
    ("book", "words"),
    [
        ({**BOOK, "answers": ["one"]}, "book 1: questions and answers must be lists of one length"),
        ({**BOOK, "questions": None}, "book 1: questions and answers must be lists of one length"),
        ({**BOOK, "split": 4}, "book 1: split must be 1 (train), 2 (val) or 3 (test), found 4"),
        ([], "book 1: must be an object, found list"),
    ],
)
def test_a_broken_book_is_a_problem(tmp_path, book, words):
    problem, *found = samples(write(tmp_path, **{"1": book, "2": BOOK}), "train")
    assert problem.text.startswith(str(tmp_path / "dataset.json"))
    assert words in problem.text
    assert [sample.id for sample in found] == ["2_0", "2_1"]


def test_a_question_that_is_no_text_is_a_problem_and_its_neighbours_samples(tmp_path):
    book = {**BOOK, "questions": ["Q?", None, "R?"], "answers": ["a", "b", ["c"]]}
    first, *problems = samples(write(tmp_path, **{"1": book}), "train")
    assert first.id == "1_0"
    assert [problem.text.split(": ")[1] for problem in problems] == [
        "questions[1] or its answer is no text; mend or remove it",
        "questions[2] or its answer is no text; mend or remove it",
    ]


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.json is missing"):
        list(samples(tmp_path, "train"))
