"""VizWiz samples from hand-written annotations, answerable or not; broken ones are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample
from coin_lightning.benchmarks.coin.vizwiz import samples
from coin_lightning.errors import ConfigError, DataError


def said(*answers: str) -> list[dict[str, str]]:
    """Ten answers: the given ones, the last repeated."""
    ten = [*answers, *[answers[-1]] * (10 - len(answers))]
    return [{"answer": answer, "answer_confidence": "yes"} for answer in ten]


ENTRY = {
    "image": "VizWiz_train_00000003.jpg", "question": "What is the captcha on this screenshot?",
    "answers": said("t36m", "T36M", "unanswerable", "t36m"), "answer_type": "other", "answerable": 1,
}  # fmt: skip


def write(raw: Path, *entries: Any, file: str = "train.json") -> Path:
    (raw / file).parent.mkdir(exist_ok=True, parents=True)
    (raw / file).write_text(json.dumps(entries))
    return raw


def test_the_most_common_answer_and_the_ten(tmp_path):
    (sample,) = samples(write(tmp_path, ENTRY), "train")
    ten = ["t36m", "T36M", "unanswerable"] + ["t36m"] * 7
    fields = {"answers": ten, "answer_type": "other"}
    image = "VizWiz/train/VizWiz_train_00000003.jpg"
    assert sample == RawSample("VizWiz_train_00000003", image, ENTRY["question"], "t36m", None, fields)


@pytest.mark.parametrize(
    ("answerable", "answers", "answer"),
    [
        (0, said("unanswerable"), "Unanswerable"),
        (0, said("coke", "coke", "coke", "coke", "coke", "coke", "unsuitable"), "Unanswerable"),  # the flag decides
        (
            1,
            said("unanswerable", "unanswerable", "Unanswerable", "pepsi", "a", "b", "c", "d", "e", "f"),
            "Unanswerable",
        ),
        (1, said("unanswerable", "unanswerable", "coke"), "coke"),
    ],
)
def test_unanswerable(tmp_path, answerable, answers, answer):
    (sample,) = samples(write(tmp_path, {**ENTRY, "answerable": answerable, "answers": answers}), "train")
    assert sample.answer == answer


def test_a_second_question_about_a_image_gets_an_id_of_its_own(tmp_path):
    found = list(samples(write(tmp_path, ENTRY, {**ENTRY, "question": "And this?"}, ENTRY), "train"))
    assert [sample.id for sample in found] == [
        "VizWiz_train_00000003", "VizWiz_train_00000003_2", "VizWiz_train_00000003_3",
    ]  # fmt: skip
    assert found[1].question == "And this?"
    assert found[1].fields["answer_type"] == "other"


def test_hint_and_other_folders(tmp_path):
    raw = write(tmp_path, {**ENTRY, "image": "VizWiz_val_00028000.jpg"}, file="Annotations/val.json")
    (sample,) = samples(raw, "val", hint="llava")
    hint = "When the provided information is insufficient, respond with 'Unanswerable'."
    assert sample.question == f"What is the captcha on this screenshot?\n{hint}"
    assert sample.image == "VizWiz/val/VizWiz_val_00028000.jpg"
    with pytest.raises(ConfigError, match="hint=1: choose from none, llava"):
        list(samples(raw, "val", hint="1"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answers": said("a")[:9]}, "(VizWiz_train_00000003.jpg): 'answers' must list the answers of 10"),
        ({"answers": [{"answer_confidence": "yes"}] * 10}, "'answers' holds an entry that is no text"),
        ({"answerable": None}, "answerable must be 0 or 1, found None"),
        ({"image": None}, "needs image and question, found None"),
        ({"question": 3}, "needs image and question"),
    ],
)  # fmt: skip
def test_a_broken_entry_is_a_problem(tmp_path, change, words):
    problem, sample = samples(write(tmp_path, {**ENTRY, **change}, ENTRY), "train")
    assert isinstance(problem, Problem)
    assert problem.text.startswith(f"{tmp_path / 'train.json'}[0]")
    assert words in problem.text
    assert sample.id == "VizWiz_train_00000003"


def test_files_of_another_kind(tmp_path):
    with pytest.raises(DataError, match="VizWiz's val is missing; looked for"):
        list(samples(tmp_path, "val"))
    with pytest.raises(DataError, match="is of train, so this is not the val file"):
        list(samples(write(tmp_path, ENTRY, file="val.json"), "val"))
    (tmp_path / "train.json").write_text('{"data": []}')
    with pytest.raises(DataError, match="must hold an array, found an object"):
        list(samples(tmp_path, "train"))
