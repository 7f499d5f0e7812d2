"""Rows, what is wrong with them, and the quick look against the close one."""

import random

import pytest

from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.row_format import (
    Facts,
    TestRow,
    TrainRow,
    question_facts,
    question_problems,
    question_row,
    row_problems,
    train_facts,
    train_problems,
    train_row,
)


def talk(*values: str, **fields: object) -> dict:
    parts = [{"from": ("human", "gpt")[at % 2], "value": value} for at, value in enumerate(values)]
    return {"id": "x", "conversations": parts, **fields}


def test_facts_by_hand():
    row = talk("<image>\nWhat?", " A cat\n", "Sü?", "Yes", id="7", image="./deep/b.jpg")
    assert train_facts(row) == Facts("7", "./deep/b.jpg")
    made = train_row(row, "deep/b.jpg", "here")
    assert made == TrainRow("7", (Turn("<image>\nWhat?", "A cat"), Turn("Sü?", "Yes")), "deep/b.jpg", "here")
    asked = {"question_id": 12, "image": "a", "text": "Where?\n<image>", "answer": "", "size": [3, 4]}
    assert question_facts(asked) == Facts("12", "a")
    assert question_row(asked, "a", "w") == TestRow("12", "Where?\n<image>", "a", {"answer": "", "size": [3, 4]}, "w")


@pytest.mark.parametrize(
    ("fields", "identity"),
    [({"id": 0}, "0"), ({"id": "a"}, "a"), ({"question_id": 5, "id": "a"}, "5"), ({"question_id": None, "id": 3}, "3")],
)
def test_ids_may_be_numbers_and_question_id_goes_first(fields, identity):
    row = {key: value for key, value in talk("q", "a").items() if key != "id"} | fields
    assert row_problems(row) == []
    assert train_row(row, None, "").id == identity


def test_what_is_no_row():
    assert row_problems("text") == ["must be an object, found str"]
    assert row_problems({"id": ""}) == row_problems({}) == ["field 'question_id' or 'id' is missing or empty"]


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        ({}, ["field 'conversations' must be a list of question and answer pairs"]),
        (talk("q"), ["field 'conversations' must be a list of question and answer pairs"]),
        (talk(" ", ""), ["conversations[0] has an empty question", "conversations[1] has an empty answer"]),
        (talk("q", "<image>"), ["conversations[1] has <image> in an answer; only a question can show one"]),
        (talk("\ud800", "a"), ["conversations[0] has half a character (a lone surrogate); write the text anew"]),
        (
            {"conversations": [{"from": "gpt", "value": "a"}, 3]},
            [
                "conversations[0] must be {'from': 'human', 'value': text}",
                "conversations[1] must be {'from': 'gpt', 'value': text}",
            ],
        ),
    ],
)
def test_problems_of_conversations(row, lines):
    assert train_problems(row) == lines
    assert train_facts({"id": "1", **row}) is None


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
    assert train_facts({"id": 1, "conversations": parts}) is None


def test_problems_of_questions():
    assert question_problems({"text": "q"}) == []
    assert question_problems({"text": " "}) == question_problems({}) == ["field 'text' is missing or empty"]
    assert "half a character" in question_problems({"text": "\udc00"})[0]


PLACEHOLDERS = [
    (["<image>\nWhy?"], {"image": "a"}, None),
    (["Why?\n<image>"], {"image": "a"}, None),
    (["Why?"], {}, None),
    (["Why?"], {"image_id": 7, "images": None, "image_size": 0}, None),
    (["Why?"], {"image": "a"}, "has a picture, but no <image>"),
    (["<image>\nWhy?"], {}, "has 1 <image>, but no picture; name its path in field 'image'"),
    (["<image>\nWhy?"], {"image": None}, "has 1 <image>, but no picture"),
    (
        ["Why?"],
        {"images": ["a"]},
        "field 'images' is not read: the path of a row's one picture belongs in field 'image'",
    ),
    (["Why?"], {"image_path": "a"}, "field 'image_path' is not read"),
    (["Why?"], {"Photo": {"bytes": ""}}, "field 'Photo' is not read"),
    (["<image>\nCompare <image> with it"], {"image": "a"}, "has 2 <image>, but shows one picture"),
    (["<image>\nWhy?", "<image>\nAnd?"], {"image": "a"}, "has 2 <image>, but shows one picture"),
    (["Why?", "<image>\nAnd?"], {"image": "a"}, "has <image> within a text or behind the first question"),
    (["Is <image> it?"], {"image": "a"}, "has <image> within a text"),
]


@pytest.mark.parametrize(("questions", "fields", "problem"), PLACEHOLDERS)
def test_placeholders_and_pictures_agree(questions, fields, problem):
    row = talk(*(text for question in questions for text in (question, "a")), **fields)
    lines = train_problems(row)
    assert (lines == []) if problem is None else lines[0].startswith(problem), lines
    if problem is not None:
        assert train_facts(row) is None
    asked = {"id": 1, "text": "\n".join(questions), **fields}
    unneeded = problem is None or problem == "has a picture, but no <image>"  # CoIN's test rows mostly have none
    if len(questions) == 1:
        assert (question_problems(asked) == []) == unneeded
        assert (question_facts(asked) is None) == (not unneeded or "image_id" in fields)


STRANGE = [
    None, 0, True, 1.5, "", " ", "\u3000", "<image>", "a<image>b", "<ima", "ge>", "\ud800", "ü\u4e2d", "x", (), ("x",),
]  # fmt: skip


def spoilt(rng: random.Random) -> dict:
    """A conversation with one or two strange things in it."""
    row = talk(
        rng.choice(["Why <image>?", "<image>\nWho", "<image>\nWo ü\n", "Wo\n<image>", "Wo"]), "a ", "Und <imag", " b"
    )
    row["image"] = "a.jpg"
    for _ in range(rng.randrange(3)):
        place = rng.randrange(6)
        if place == 0:
            row[rng.choice(["id", "question_id", "image", "images", "conversations", "text"])] = rng.choice(STRANGE)
        elif place == 1:
            row.pop(rng.choice(["id", "image", "conversations"]), None)
        elif isinstance(row.get("conversations"), list) and row["conversations"]:
            part = rng.randrange(len(row["conversations"]))
            if place == 2:
                row["conversations"][part] = rng.choice(STRANGE)
            elif isinstance(row["conversations"][part], dict):
                row["conversations"][part][rng.choice(["from", "value"])] = rng.choice([*STRANGE, "human"])
    return row


def test_the_quick_look_takes_no_row_that_the_close_one_refuses_and_says_the_same():
    rng, taken = random.Random(1), 0
    for _ in range(5000):
        row = spoilt(rng)
        facts = train_facts(row)
        if facts is None:
            continue
        taken += 1
        assert row_problems(row) == []
        assert train_problems(row) == []
        assert facts == (train_row(row, None, "").id, row.get("image"))
    assert taken > 700


def test_the_same_for_questions():
    rng = random.Random(2)
    for _ in range(2000):
        row = {"id": rng.choice(STRANGE), "question_id": rng.choice(STRANGE), "text": rng.choice(STRANGE)}
        facts = question_facts(row)
        if facts is not None:
            assert row_problems(row) == question_problems(row) == []
            assert facts == (question_row(row, None, "").id, None)


def test_long_conversations_are_left_to_the_close_look():
    row = talk(*["q", "a"] * 150)
    assert train_facts(row) is None
    assert train_problems(row) == []
    assert len(train_row(row, None, "").turns) == 150
