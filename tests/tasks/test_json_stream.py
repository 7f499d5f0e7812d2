"""The streaming reader against the standard library, with the text cut at every possible place."""

import json
import random
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks.json_stream import list_items

FILE = Path("rows.json")
VALUES = [{"a": "ü\u4e2d😀", "b": [1, 2.5, -3e2]}, 12, 'x\\"]},{', None, True, [], {}, [[["deep"]]], "", 7]


def pieces(text: str | bytes, size: int) -> list[bytes]:
    data = text if isinstance(text, bytes) else text.encode()
    return [data[at : at + size] for at in range(0, len(data), size)]


def read(text: str | bytes, size: int = 1000) -> list:
    return [item.value for item in list_items(FILE, pieces(text, size))]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
def test_values_and_their_places_wherever_the_text_is_cut(size, style):
    text = " \n" + json.dumps(VALUES, **style) + "\n "
    items = list(list_items(FILE, pieces(text, size)))
    assert [item.value for item in items] == VALUES
    data = text.encode()
    assert [json.loads(data[item.offset : item.offset + item.size]) for item in items] == VALUES


def message_of(text: str | bytes, size: int = 1000) -> str:
    with pytest.raises(DataError) as refusal:
        read(text, size)
    return str(refusal.value)


BROKEN = [
    '[{"id": "1", ',
    "[1, 2",
    "[1 2]",
    "[1, ]",
    "[1], 2",
    "[tru]",
    '["a\n"]',
    '["\\x"]',
    "[1,\n 2,\n oops]",
    '["',
    "[-]",
]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("text", BROKEN)
def test_what_json_refuses_is_refused_at_the_same_place(text, size):
    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(text)
    assert f"rows.json: malformed JSON ({theirs.value}); the file may be cut off" in message_of(text, size)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("text", "found"), [("{}", "dict"), ("[]", "list"), (' { "a": [1] }', "dict"), ("[ \n]", "list")]
)
def test_files_without_a_list_of_rows(text, found, size):
    assert message_of(text, size) == f"rows.json: must hold a non-empty list of rows, found {found}"


def test_a_file_that_holds_a_text_or_nothing(tmp_path):
    for text, words in (('"rows"', "found str"), ("", "malformed JSON"), ("\ufeff", "malformed JSON")):
        file = tmp_path / "x.json"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=words):
            list(list_items(file, [text.encode()]))


def test_bytes_that_are_no_text_are_named_by_their_place():
    assert "malformed JSON ('utf-8' codec cannot decode byte 6: " in message_of(b'["ok",\xff]', 4)
    assert "unexpected end of data" in message_of('["ü'.encode()[:-1], 2)


def test_nesting_without_end_is_no_crash():
    assert "malformed JSON (maximum recursion depth" in message_of("[" * 100_000)


def test_a_broken_row_is_found_without_reading_on():
    """What follows a mistake is not collected in memory."""
    taken = []

    def endless():
        yield b'[{"a": 1}, {"a": oops}, '
        for _ in range(1000):
            taken.append(1)
            yield b'{"a": 1}, ' * 100

    with pytest.raises(DataError, match=r"Expecting value: line 1 column 18"):
        list(list_items(FILE, endless()))
    assert len(taken) <= 2


def test_a_value_longer_than_many_pieces_costs_linear_time():
    long = ["x" * 2_000_000, {"next": 1}]
    assert read(json.dumps(long), 4096) == long


def test_random_documents():
    rng = random.Random(0)

    def value(depth: int):
        kind = rng.randrange(6 if depth else 4)
        if kind == 4:
            return [value(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 5:
            return {rng.choice('ab"ü{'): value(depth - 1) for _ in range(rng.randrange(4))}
        return (rng.randrange(-99, 99), rng.random(), None, "".join(rng.choices('a"\\ü\n]},:', k=rng.randrange(9))))[
            kind
        ]

    for _ in range(200):
        rows = [value(3) for _ in range(rng.randrange(1, 6))]
        text = json.dumps(rows, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
        assert read(text, rng.randrange(1, 20)) == rows


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("lines", [False, True])
def test_a_byte_order_mark_and_objects_on_lines_of_their_own(size, lines):
    values = [{"a": "ü"}, {"a": [1, {"b": 2}]}, {}]
    texts = [json.dumps(value, ensure_ascii=False) for value in values]
    text = "\ufeff" + ("\n".join(texts) + "\n" if lines else f"[{', '.join(texts)}]")
    items = list(list_items(FILE, pieces(text, size)))
    assert [item.value for item in items] == values
    data = text.encode()
    assert [json.loads(data[item.offset : item.offset + item.size]) for item in items] == values


def test_a_mistake_in_lines_is_named_by_its_place():
    assert "malformed JSON (Expecting value: line 2 column 7" in message_of('{"a": 1}\n{"a": oops}\n')
