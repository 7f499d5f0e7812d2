"""Samples, and what is wrong with them."""

import pytest

from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.sample_format import (
    Media,
    TestSample,
    TrainSample,
    image_problems,
    question_problems,
    question_sample,
    sample_problems,
    train_problems,
    train_sample,
)


def talk(*values: str, **fields: object) -> dict:
    parts = [{"from": ("human", "gpt")[at % 2], "value": value} for at, value in enumerate(values)]
    return {"id": "x", "conversations": parts, **fields}


def test_samples_by_hand():
    sample = talk("<image>\nWhat?", " A cat\n", "Sü?", "Yes", id="7", image="./deep/b.jpg")
    media = (Media("deep/b.jpg"),)
    made = train_sample(sample, media, "here")
    assert made == TrainSample("7", (Turn("What?", "A cat", images=1), Turn("Sü?", "Yes")), media, "here")
    assert made.image == "deep/b.jpg"
    asked = {"question_id": 12, "image": "a", "text": "Where?\n<image>", "answer": "", "size": [3, 4]}
    assert question_sample(asked, media, "w") == TestSample("12", "Where?", media, {"answer": "", "size": [3, 4]}, "w")
    assert question_sample({"id": 1, "text": "Why?"}, (), "w").image is None


def test_turns_say_how_many_images_they_show():
    sample = talk(
        "<image>\n<image>\nWhich is red?", "Left", "And\n<image>", "None", "Sure?", "Yes", image=["a", "b", "c"]
    )
    assert train_problems(sample) == image_problems(sample) == []
    media = tuple(map(Media, "abc"))
    assert [(turn.question, turn.images) for turn in train_sample(sample, media, "w").turns] == [
        ("Which is red?", 2), ("And", 1), ("Sure?", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "identity"),
    [({"id": 0}, "0"), ({"id": "a"}, "a"), ({"question_id": 5, "id": "a"}, "5"), ({"question_id": None, "id": 3}, "3")],
)
def test_ids_may_be_numbers_and_question_id_goes_first(fields, identity):
    sample = {key: value for key, value in talk("q", "a").items() if key != "id"} | fields
    assert sample_problems(sample) == []
    assert train_sample(sample, (), "").id == identity


def test_what_is_no_sample():
    assert sample_problems("text") == ["must be an object, found str"]
    assert (
        sample_problems({"id": ""})
        == sample_problems({"question_id": True})
        == sample_problems({})
        == ["field 'question_id' or 'id' is missing or empty"]
    )


@pytest.mark.parametrize(
    ("sample", "lines"),
    [
        ({}, ["field 'conversations' must be a list of question and answer pairs"]),
        (talk("q"), ["field 'conversations' must be a list of question and answer pairs"]),
        (talk(" ", ""), ["conversations[0] has an empty question", "conversations[1] has an empty answer"]),
        (talk("q", "<image>"), ["conversations[1] has <image> in an answer; only a question can show one"]),
        (
            {"conversations": [{"from": "gpt", "value": "a"}, 3]},
            [
                "conversations[0] must be {'from': 'human', 'value': text}",
                "conversations[1] must be {'from': 'gpt', 'value': text}",
            ],
        ),
    ],
)
def test_problems_of_conversations(sample, lines):
    assert train_problems(sample) == lines


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        (
            [{"from": "system", "value": "Be good."}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
            "has a system turn; remove it",
        ),
        (
            [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}],
            "has speakers 'user', 'assistant'; write",
        ),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "has turns with a 'role'; write"),
    ],
)
def test_turns_of_other_projects_are_told_in_one_sentence(parts, problem):
    (line,) = train_problems({"id": 1, "conversations": parts})
    assert line.startswith(f"field 'conversations' {problem}")


def test_problems_of_questions():
    assert question_problems({"text": "q"}) == []
    assert question_problems({"text": " "}) == question_problems({}) == ["field 'text' is missing or empty"]


@pytest.mark.parametrize(
    ("image", "count"), [("a", 0), (["a", "b"], 0), (None, 0), (["a", 3, ""], 2), (7, 1), ("", 1), ({"bytes": ""}, 1)]
)
def test_images_are_paths(image, count):
    lines = image_problems({"image": image})
    assert len(lines) == count
    assert all("must be a path below the image folder or a list of paths, found " in line for line in lines)


PLACEHOLDERS = [
    (["<image>\nWhy?"], {"image": "a"}, None),
    (["Why?\n<image>"], {"image": "a"}, None),
    (["Why?"], {}, None),
    (["Why?"], {"image_id": 7, "images": None, "image_size": 0}, None),
    (["<image>\nWhy?\n<image>"], {"image": ["a", "b"]}, None),
    (["Why?", "<image>\nAnd?"], {"image": "a"}, None),
    (["Why?"], {"image": "a"}, "has an image, but no <image>"),
    (["Why?"], {"image": ["a", "b"]}, "has 0 <image>, but field 'image' names 2 images; give each image one"),
    (["<image>\nWhy?"], {}, "has 1 <image>, but no image; name its path in field 'image'"),
    (["<image>\nWhy?"], {"image": None}, "has 1 <image>, but no image"),
    (["<image>\nWhy?"], {"image": []}, "has 1 <image>, but no image"),
    (
        ["Why?"],
        {"images": ["a"]},
        "field 'images' is not read: paths of a sample's images belong in field 'image'",
    ),
    (["Why?"], {"image_path": "a"}, "field 'image_path' is not read"),
    (["Why?"], {"Photo": {"bytes": ""}}, "field 'Photo' is not read"),
    (["<image>\nCompare <image> with it"], {"image": "a"}, "has 2 <image>, but field 'image' names 1 image;"),
    (["<image>\nWhy?", "<image>\nAnd?"], {"image": "a"}, "has 2 <image>, but field 'image' names 1 image;"),
    (["<image>\nWhy?"], {"image": ["a", "b"]}, "has 1 <image>, but field 'image' names 2 images;"),
    (["<image>\nCompare <image> with it"], {"image": ["a", "b"]}, "has <image> within a text; put it in front"),
    (["Is <image> it?"], {"image": "a"}, "has <image> within a text"),
]


@pytest.mark.parametrize(("questions", "fields", "problem"), PLACEHOLDERS)
def test_placeholders_and_images_agree(questions, fields, problem):
    sample = talk(*(text for question in questions for text in (question, "a")), **fields)
    lines = train_problems(sample)
    assert (lines == []) if problem is None else lines[0].startswith(problem), lines
    if len(questions) == 1:  # CoIN's test samples mostly have no placeholder: all images are shown
        asked = {"id": 1, "text": questions[0], **fields}
        unneeded = problem is None or "no <image>" in problem or "has 0 <image>" in problem
        assert (question_problems(asked) == []) == unneeded
