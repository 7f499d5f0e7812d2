"""What sequences say of all their rows, whether the rows are in a table, in memory, or joined from several places."""

import json
import pickle
import random
from pathlib import Path

import pytest

from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.row_format import Media, TrainRow
from coin_lightning.tasks.row_sequence import Rows, as_rows
from coin_lightning.tasks.rows import read_train


def row(name: str, *images: str) -> TrainRow:
    turns = (Turn("Why?", "ü", images=len(images)),)
    return TrainRow(name, turns, tuple(map(Media, images)), f"row {name}")


ROWS = [row("a", "1.jpg"), row("b"), row("c", "2.jpg", "3.jpg"), row("d", "1.jpg", "1.jpg")]


@pytest.fixture
def filed(tmp_path: Path) -> Rows:
    """Forty rows of a file, on seven images: some show none, some several."""
    for at in range(7):
        (tmp_path / f"{at}.jpg").write_bytes(b"image")
    rng, rows = random.Random(3), []
    for at in range(40):
        images = [f"./{rng.randrange(7)}.jpg" for _ in range(rng.randrange(4))]
        texts = ["<image>\n" * len(images) + "Wo ist " + "ü" * rng.randrange(9), " hier ", "Und?", "da"]
        parts = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
        rows.append({"id": at, "image": images[0] if len(images) == 1 else images, "conversations": parts})
    (tmp_path / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return read_train(tmp_path / "rows.json", tmp_path)


def same(filed: Rows, held: Rows) -> None:
    assert list(filed) == list(held)
    assert filed.ids == held.ids
    assert filed.images == held.images
    assert filed.without_image() == held.without_image() == sum(not row.media for row in held)
    assert filed.users(filed.images) == held.users(held.images)
    assert filed.users(["none.jpg"]) == {}
    assert [filed.where(at) for at in range(len(filed))] == [row.where for row in held]


@pytest.mark.parametrize("chosen", [[5, 3, 39, 3], [], [3, 7, 11], list(range(39, -1, -1)), list(range(40))])
def test_rows_of_a_file_say_what_a_list_says(filed, chosen):
    held = as_rows(list(filed))
    same(filed.select(chosen), held.select(chosen))
    same(filed.select(chosen)[1:3], held.select(chosen)[1:3])
    same(Rows.joined([filed.select(chosen), held]), Rows.joined([held.select(chosen), filed]))


def test_random_samples_are_taken_as_of_a_list(filed):
    assert random.Random(1).sample(filed, 10) == random.Random(1).sample(list(filed), 10)


def test_rows_travel_to_loader_processes(filed):
    part = pickle.loads(pickle.dumps(filed[2:5]))
    assert part == list(filed)[2:5]
    assert part.ids == ["2", "3", "4"]


def test_a_list_says_the_same_as_a_file_would():
    rows = as_rows(ROWS)
    assert as_rows(rows) is rows
    assert (rows.ids, rows.images) == (["a", "b", "c", "d"], ["1.jpg", "2.jpg", "3.jpg"])
    assert rows.users({"1.jpg", "none.jpg"}) == {"1.jpg": "row d"}
    assert rows.where(2) == "row c"


def test_sequences_behave_as_lists():
    rows = as_rows(ROWS)
    assert rows[-1] is ROWS[3]
    assert rows == ROWS
    assert rows[1:3] == ROWS[1:3]
    assert isinstance(rows[::2], Rows)
    assert rows.select([3, 0]) == [ROWS[3], ROWS[0]]
    assert rows != ROWS[:3]
    assert rows != [*ROWS[:3], ROWS[0]]
    assert (rows == "abcd", rows == 3) == (False, False)
    assert list(reversed(rows)) == ROWS[::-1]
    assert ROWS[2] in rows
    with pytest.raises(IndexError):
        rows[4]


def test_a_selection_of_joined_rows():
    joined = Rows.joined([ROWS[:2], as_rows(ROWS[2:]), []])
    assert joined == ROWS
    assert joined.where(3) == "row d"
    chosen = Rows.joined([joined.select([3, 1, 2])])
    assert chosen == [ROWS[3], ROWS[1], ROWS[2]]
    assert chosen[1:].select([1]) == [ROWS[2]]
    assert chosen.ids == ["d", "b", "c"]
    assert sorted(chosen.images) == ["1.jpg", "2.jpg", "3.jpg"]
    assert chosen[:2].users(["1.jpg"]) == {"1.jpg": "row d"}
