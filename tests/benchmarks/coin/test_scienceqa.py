"""ScienceQA samples from hand-written problems, with and without image and hint; broken problems are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample
from coin_lightning.benchmarks.coin.scienceqa import RAW, samples, sources
from coin_lightning.errors import DataError

PROBLEM = {
    "question": "Which of these is a mammal?", "choices": ["a trout", "a whale", "an eagle"], "answer": 1, "hint": "",
    "image": None, "task": "closed choice", "grade": "grade2", "subject": "natural science", "split": "train",
    "lecture": "Long.", "solution": "Longer.",
}  # fmt: skip


def write(raw: Path, problems: dict[str, Any], splits: dict[str, Any]) -> Path:
    (raw / "problems.json").write_text(json.dumps(problems))
    (raw / "pid_splits.json").write_text(json.dumps(splits))
    return raw


def test_question_context_options_and_letter(tmp_path):
    problems = {
        "1": PROBLEM,
        "2": {**PROBLEM, "image": "image.png", "hint": "It lives\nin the sea. ", "answer": 0},
        "3": {**PROBLEM, "split": "val"},
        "4": {**PROBLEM, "split": "test", "image": "image.png", "choices": ["yes", "no"]},
    }
    raw = write(tmp_path, problems, {"train": ["1", "2"], "val": ["3"], "test": ["4"], "minitrain": ["1"]})
    options = "Options: (A) a trout (B) a whale (C) an eagle"
    question = "Which of these is a mammal?"
    assert list(samples(raw, "train")) == [
        RawSample("1", None, f"{question}\nContext: N/A\n{options}", "B"),
        RawSample(
            "2", "ScienceQA/images/train/2/image.png", f"{question}\nContext: It lives\nin the sea.\n{options}", "A"
        ),
    ]
    (sample,) = samples(raw, "test")
    assert (sample.id, sample.image, sample.answer) == ("4", "ScienceQA/images/test/4/image.png", "B")
    assert sample.question.endswith("\nOptions: (A) yes (B) no")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 3}, "answer 3 is no index into its 3 choices"),
        ({"answer": -1}, "answer -1 is no index"),
        ({"answer": "1"}, "answer '1' is no index"),
        ({"choices": ["one"]}, "is no index into its 1 choices (2 to 5)"),
        ({"choices": list("abcdef")}, "its 6 choices (2 to 5)"),
        ({"choices": None}, "'choices' a list of texts"),
        ({"question": None}, "'question' must be a text"),
        ({"image": "../1/image.png"}, "'image' must be a file name or null"),
        ({"split": "test"}, "is of split 'test', but pid_splits.json has it in 'train'"),
    ],
)
def test_a_broken_problem_is_told_with_its_id(tmp_path, change, message):
    raw = write(tmp_path, {"7": {**PROBLEM, **change}, "8": PROBLEM}, {"train": ["7", "8"]})
    problem, sample = samples(raw, "train")
    assert isinstance(problem, Problem)
    assert problem.text.startswith(f"{raw / 'problems.json'} problem 7: ")
    assert message in problem.text
    assert isinstance(sample, RawSample)


def test_ids_that_do_not_join_are_told(tmp_path):
    raw = write(tmp_path, {"1": PROBLEM, "2": "text", "9": PROBLEM}, {"train": ["1", "2", "5", "6"]})
    texts = [found.text for found in samples(raw, "train") if isinstance(found, Problem)]
    for text, expected in zip(texts, ("problem 2: must be an object", "id 5 of split 'train'", "id 6"), strict=True):
        assert expected in text


def test_a_wrong_splits_file_is_an_error(tmp_path):
    raw = write(tmp_path, {"1": PROBLEM}, {"train": ["1"], "val": []})
    with pytest.raises(DataError, match=r"pid_splits\.json: has no ids for split 'test', only 'train', 'val'"):
        list(samples(raw, "test"))
    (tmp_path / "pid_splits.json").unlink()
    with pytest.raises(DataError, match=r"pid_splits\.json is missing; looked for"):
        list(samples(raw, "train"))


def test_sources_and_truths(tmp_path):
    raw = write(tmp_path, {"1": PROBLEM}, {"train": ["1"]})
    assert sources(raw, "train") == [raw / "problems.json", raw / "pid_splits.json"]
    assert set(RAW.truths) == {"ScienceQA/problems.json", "ScienceQA/pid_splits.json"}
