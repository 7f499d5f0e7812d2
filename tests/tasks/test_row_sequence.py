"""What sequences say of all their rows, whether the rows are in memory or joined from several places."""

import pytest

from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.row_format import TrainRow
from coin_lightning.tasks.row_sequence import HeldRows, JoinedRows, as_rows


def row(name: str, image: str | None = None, *answers: str) -> TrainRow:
    turns = tuple(Turn("<image>\nWhy?", answer) for answer in answers or ("ü",))
    return TrainRow(name, turns, image, f"row {name}")


ROWS = [row("a", "1.jpg"), row("b"), row("c", "2.jpg", "x", "yz"), row("d", "1.jpg")]


def test_a_list_says_the_same_as_a_file_would():
    rows = as_rows(ROWS)
    assert as_rows(rows) is rows
    assert (rows.ids, rows.images) == (["a", "b", "c", "d"], ["1.jpg", "2.jpg"])
    assert rows.users({"1.jpg", "none.jpg"}) == {"1.jpg": "row d"}
    assert rows.where(2) == "row c"


def test_sequences_behave_as_lists():
    rows = HeldRows(ROWS)
    assert rows[-1] is ROWS[3]
    assert rows == ROWS
    assert rows[1:3] == ROWS[1:3]
    assert isinstance(rows[::2], HeldRows)
    assert rows.select([3, 0]) == [ROWS[3], ROWS[0]]
    assert rows != ROWS[:3]
    assert rows != [*ROWS[:3], ROWS[0]]
    assert (rows == "abcd", rows == 3) == (False, False)
    assert list(reversed(rows)) == ROWS[::-1]
    assert ROWS[2] in rows
    with pytest.raises(IndexError):
        rows[4]


def test_joined_rows_are_the_rows_behind_one_another():
    joined = JoinedRows([ROWS[:1], HeldRows(ROWS[1:]), []])
    assert joined == ROWS
    assert (joined.ids, joined.images) == (["a", "b", "c", "d"], ["1.jpg", "2.jpg"])
    assert joined.where(3) == "row d"
    assert joined.users(["1.jpg", "2.jpg"]) == {"1.jpg": "row d", "2.jpg": "row c"}


def test_a_selection_of_joined_rows():
    joined = JoinedRows([ROWS[:2], ROWS[2:]]).select([3, 1, 2])
    assert joined == [ROWS[3], ROWS[1], ROWS[2]]
    assert joined[1:].select([1]) == [ROWS[2]]
    assert joined.ids == ["d", "b", "c"]
    assert sorted(joined.images) == ["1.jpg", "2.jpg"]
    assert joined[:2].images == ["1.jpg"]
    assert joined[:2].users(["1.jpg"]) == {"1.jpg": "row d"}
