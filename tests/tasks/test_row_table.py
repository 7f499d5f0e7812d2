"""Lazy rows against the same rows in a list."""

import json
import pickle
import random
from pathlib import Path

import pytest

from coin_lightning.tasks.row_sequence import HeldRows
from coin_lightning.tasks.rows import read_test, read_train


@pytest.fixture
def lazy(tmp_path: Path):
    """Forty rows, some without picture, on seven pictures."""
    for at in range(7):
        (tmp_path / f"{at}.jpg").write_bytes(b"picture")
    rng, rows = random.Random(3), []
    for at in range(40):
        mark = "" if at % 4 == 3 else "<image>\n"
        texts = [f"{mark}Wo ist " + "ü" * rng.randrange(9), " hier ", "Und?", "da"][: rng.choice([2, 4])]
        parts = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
        picture = {} if at % 4 == 3 else {"image": f"./{rng.randrange(7)}.jpg"}
        rows.append({"id": at, **picture, "conversations": parts})
    (tmp_path / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return read_train(tmp_path / "rows.json", tmp_path)


def same(lazy, held) -> None:
    assert list(lazy) == list(held)
    assert lazy.ids == held.ids
    assert lazy.images == held.images
    assert lazy.without_picture() == sum(row.image is None for row in held)
    assert lazy.users(lazy.images) == held.users(held.images)
    assert lazy.users(["none.jpg"]) == {}
    assert [lazy.where(at) for at in range(len(lazy))] == [row.where for row in held]


def test_they_say_what_a_list_says(lazy):
    same(lazy, HeldRows(list(lazy)))


@pytest.mark.parametrize("chosen", [[5, 3, 39, 3], [], [3, 7, 11], list(range(39, -1, -1))])
def test_selections_and_slices_are_views_that_say_the_same(lazy, chosen):
    held = HeldRows(list(lazy))
    same(lazy.select(chosen), held.select(chosen))
    same(lazy.select(chosen)[1:3], held.select(chosen)[1:3])
    assert lazy.select(chosen).columns is lazy.columns


def test_random_samples_are_taken_as_of_a_list(lazy):
    assert random.Random(1).sample(lazy, 10) == random.Random(1).sample(list(lazy), 10)


def test_they_travel_to_loader_processes(lazy):
    part = pickle.loads(pickle.dumps(lazy[2:5]))
    assert part == list(lazy)[2:5]
    assert part.ids == ["2", "3", "4"]


def test_test_rows_keep_their_fields(tmp_path):
    rows = [{"question_id": at, "text": "q", "answer": at, "size": [1, 2]} for at in range(3)]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    read = read_test(tmp_path / "test.json", tmp_path)
    assert [row.fields for row in read] == [{"answer": at, "size": [1, 2]} for at in range(3)]
    assert read.images == []
