"""The streaming reader against `json.loads`, on damaged files, and with bounded memory."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.errors import DataError
from coin_lightning.json_stream import PIECE, read_array, read_header, read_object, read_samples, watching

STRANGE = [
    1, -2.5e3, 0, 1234567890123456789, True, None, "", "é\n\"\\ü😀\ud7ff\\ud83d", {"a": [1, {"b": []}], "c": {}}, [],
    [[[]]], "]},{[", {"key: ": "[,]"}, {"a.b": {"item": [1]}}, 0.1, 1e-7,
]  # fmt: skip


def put(file: Path, content: Any, **options: Any) -> Path:
    file.write_text(content if isinstance(content, str) else json.dumps(content, **options), encoding="utf-8")
    return file


@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_same_as_json_loads(tmp_path, style):
    file = put(tmp_path / "a.json", STRANGE, **style)
    assert list(read_array(file)) == list(read_samples(file)) == STRANGE
    members = {f"k{place} é": value for place, value in enumerate(STRANGE)}
    file = put(tmp_path / "o.json", members, **style)
    assert list(read_object(file)) == list(members.items())
    whole = {"info": {"year": [2017]}, "n": 3, "list": [9], "data": STRANGE, "members": members, "end": 1}
    file = put(tmp_path / "w.json", whole, **style)
    assert list(read_array(file, "data")) == STRANGE
    assert list(read_object(file, "members")) == list(members.items())


def test_random_values_are_the_same(tmp_path):
    draw = random.Random(3)

    def value(depth: int) -> Any:
        kind = draw.randrange(6 if depth else 4)
        if kind < 4:
            number = draw.random() * 10 ** draw.randint(-8, 8)
            return [number, draw.randint(-99, 99), None, 'x\\"é'[: draw.randint(0, 4)]][kind]
        many = range(draw.randrange(4))
        return [value(depth - 1) for _ in many] if kind == 4 else {str(key): value(depth - 1) for key in many}

    for number in range(60):
        items = [value(3) for _ in range(draw.randrange(6))]
        file = put(tmp_path / f"{number}.json", items, indent=draw.choice((None, 1)))
        assert list(read_array(file)) == items


def test_white_space_byte_order_mark_and_empty_lists(tmp_path):
    assert list(read_array(put(tmp_path / "a.json", " \n[ ]\t\n"))) == []
    assert list(read_object(put(tmp_path / "b.json", "\ufeff{}"))) == []
    assert list(read_array(put(tmp_path / "c.json", '{"a": [1 , 2 ]} '), "a")) == [1, 2]
    assert list(read_array(put(tmp_path / "d.json", '{"a": []} '), "a")) == []


def test_header_has_plain_members_before_the_key(tmp_path):
    file = put(tmp_path / "q.json", {"info": {"x": 1}, "data_subtype": "train2014", "l": [1], "n": 2, "q": [1], "z": 3})
    assert read_header(file, "q") == {"data_subtype": "train2014", "n": 2}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_samples_may_stand_on_lines_of_their_own(tmp_path, mark):
    values = [{"a": "ü"}, {"a": [1, {"b": 2}]}, {}]
    text = mark + "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    assert list(read_samples(put(tmp_path / "lines.json", text))) == values


@pytest.mark.parametrize(
    ("text", "count", "what"),
    [
        ("[1, 2", 2, "premature EOF"),
        ('[1, "ab', 1, "premature EOF"),
        ('[{"a": 1}, {"a": ', 1, "premature EOF"),
        ("[1, 2, tru", 2, "invalid string in json text"),
        ("[1 2]", 1, r"I expect ',' or '\]', near '\[1 2\]'"),
        ("[1, ]", 1, "unallowed token"),
        ("[é1]", 0, "invalid char in json text"),
        ("[1] x", 1, "trailing garbage, near"),
        ("[NaN]", 0, r"invalid char in json text, near '\[NaN\]'"),
        ('["a\x01b"]', 0, "invalid character inside string"),
        ("[1, 12345678901234567890]", 1, "integer overflow"),
        ("[7, 1e999]", 1, "overflow"),
    ],
)
def test_damage_is_named_with_file_place_and_text(tmp_path, text, count, what):
    file = put(tmp_path / "broken.json", text)
    for read in (read_array, read_samples):
        with pytest.raises(DataError, match=what) as caught:
            list(read(file))
        assert str(caught.value).startswith(f"{file}: malformed JSON (behind item {count}: ")
        assert str(caught.value).endswith("; the file may be cut off, fetch or build it again")


def test_items_before_the_damage_are_given(tmp_path):
    text = json.dumps(["ééé"] * 9000, ensure_ascii=False)[:-1] + ', {"a" 1}]'
    items = read_array(put(tmp_path / "b.json", text))
    given = []
    with pytest.raises(DataError, match=r"behind item 9000: .*object key and value must be separated"):
        given.extend(items)
    assert given == ["ééé"] * 9000


def test_damage_does_not_read_on_to_the_end(tmp_path):
    file = put(tmp_path / "b.json", '[{"a" 1}' + ", 7" * PIECE + "]")
    read: list[int] = []
    with watching(read.append), pytest.raises(DataError, match="behind item 0"):
        list(read_array(file))
    assert sum(read) <= PIECE


def test_other_files_are_told(tmp_path):
    for read in (read_array, read_samples):
        with pytest.raises(DataError, match=r"gone\.json: file is missing"):
            list(read(tmp_path / "gone.json"))
        with pytest.raises(DataError, match="cannot be read"):
            list(read(tmp_path))
    with pytest.raises(DataError, match="must hold an array, found an object"):
        list(read_array(put(tmp_path / "o.json", {"a": 1})))
    with pytest.raises(DataError, match="must hold an object, found an array"):
        list(read_object(put(tmp_path / "a.json", [1])))
    with pytest.raises(DataError, match="must hold an array, found nothing"):
        list(read_array(put(tmp_path / "e.json", "")))
    with pytest.raises(DataError, match="has no member 'data', only 'info', 'list'"):
        list(read_array(put(tmp_path / "k.json", {"info": {"data": 1}, "list": []}), "data"))
    for wrong in (3, {}, "x"):
        with pytest.raises(DataError, match="must hold an array under 'data'"):
            list(read_array(put(tmp_path / "n.json", {"data": wrong}), "data"))


@pytest.mark.parametrize(
    ("text", "found"),
    [("{}", "dict"), ("[]", "list"), (' { "a": [1] }', "dict"), ("[ \n]", "list"), ('"samples"', "str"), ("3", "int")],
)
def test_files_without_samples(tmp_path, text, found):
    file = put(tmp_path / "samples.json", text)
    with pytest.raises(DataError) as refusal:
        list(read_samples(file))
    assert str(refusal.value) == f"{file}: must hold a non-empty list of samples, found {found}"


def test_bytes_that_are_no_utf_8_are_named_by_their_place(tmp_path):
    file = tmp_path / "latin.json"
    file.write_bytes(b'["ab", "caf\xe9", 1]')
    with pytest.raises(DataError, match="probably WINDOWS-1252; convert it with: iconv"):
        list(read_array(file))
    long = ('["' + "ü" * PIECE).encode()
    file.write_bytes(long + b'\xff", 1]')
    with pytest.raises(DataError, match=rf"malformed JSON \(no UTF-8 at byte {len(long)}\)"):
        list(read_array(file))


@pytest.mark.parametrize(
    "text", [r"\ud83d", r"\ude00", r"\ud83d\ud83d\ude00", r"\ud83d\ude00\ude00", r"\\\ud83d", r"\uD83D!"]
)
def test_half_a_character_is_refused_and_not_read_as_a_question_mark(tmp_path, text):
    with pytest.raises(DataError, match=r"half a character \(a lone surrogate\) at byte \d+, behind .*write the text"):
        list(read_array(put(tmp_path / "h.json", f'["ok", "{text}"]')))


@pytest.mark.parametrize("before", range(-90, 90, 7))
def test_halves_and_whole_characters_at_the_edge_of_a_piece(tmp_path, before):
    text = '["' + "x" * (PIECE - 2 + before)
    assert next(read_array(put(tmp_path / "w.json", text + r"\ud83d\ude00" + 'y"]'))).endswith("x😀y")
    with pytest.raises(DataError, match=rf"at byte {len(text)}, behind 'x+'"):
        list(read_array(put(tmp_path / "h.json", text + r"\ude00" + 'y"]')))


def test_a_half_at_the_end_of_a_file_of_whole_pieces(tmp_path):
    text = '["' + "x" * (PIECE - 10) + r"\ud83d" + '"]'
    assert len(text) == PIECE
    with pytest.raises(DataError, match="half a character"):
        list(read_array(put(tmp_path / "h.json", text)))


def test_memory_stays_that_of_a_piece(tmp_path):
    """In a process of its own: a file of 40 MB adds less than 20 MB."""
    file = put(tmp_path / "big.json", {"skipped": ["y" * 80] * 100_000, "data": [{"question": "x" * 80}] * 300_000})
    program = (
        "import resource, sys; from pathlib import Path; from coin_lightning.json_stream import read_array\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "file = Path(sys.argv[1]); next(read_array(file, 'data')); before = peak()\n"
        "print(sum(1 for _ in read_array(file, 'data')), peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    count, more = map(int, done.stdout.split())
    assert (count, more < 20_000) == (300_000, True)


def test_watchers_hear_every_byte_once_and_only_in_their_block(tmp_path):
    file = put(tmp_path / "a.json", [1, 2, 3])
    heard: list[int] = []
    with watching(heard.append):
        list(read_array(file))
    list(read_array(file))
    assert sum(heard) == file.stat().st_size


@pytest.mark.parametrize("opener", ["[", "[ ", '[{"a": ', '{"a":'])
@pytest.mark.parametrize("read", [read_array, read_samples])
def test_brackets_without_end_are_refused_at_once(tmp_path, opener, read):
    file = put(tmp_path / "deep.json", "[1, " + opener * 100_000)
    with pytest.raises(DataError, match=r"deep\.json: .*500 deep within each other"):
        list(read(file))
