"""The chunked JSON reader against `json.loads`, at every chunk size, on damaged files, and with bounded memory."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.benchmarks.coin import stream
from coin_lightning.benchmarks.coin.stream import read_array, read_header, read_object, watching
from coin_lightning.errors import DataError

STRANGE = [
    1, -2.5e3, 0, 12345678901234567890, True, None, "", "é\n\"\\ü😀", {"a": [1, {"b": []}], "c": {}}, [], [[[]]],
    "]},{[", {"key: ": "[,]"},
]  # fmt: skip


@pytest.fixture(params=[1, 2, 3, 7, 64, 1 << 20])
def chunk(request, monkeypatch) -> int:
    monkeypatch.setattr(stream, "CHUNK", request.param)
    monkeypatch.setattr(stream._Text.more, "__defaults__", (request.param,))
    return request.param


def put(file: Path, content: Any, **options: Any) -> Path:
    file.write_text(content if isinstance(content, str) else json.dumps(content, **options), encoding="utf-8")
    return file


@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_same_as_json_loads(tmp_path, chunk, style):
    file = put(tmp_path / "a.json", STRANGE, **style)
    assert list(read_array(file)) == STRANGE
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
            return [
                draw.random() * 10 ** draw.randint(-8, 8),
                draw.randint(-99, 99),
                None,
                'x\\"é'[: draw.randint(0, 4)],
            ][kind]
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


def test_header_has_plain_members_before_the_key(tmp_path):
    file = put(tmp_path / "q.json", {"info": {"x": 1}, "data_subtype": "train2014", "l": [1], "n": 2, "q": [1], "z": 3})
    assert read_header(file, "q") == {"data_subtype": "train2014", "n": 2}


@pytest.mark.parametrize(
    ("text", "byte", "what"),
    [
        ("[1, 2", 5, "found the end of the file"),
        ('[1, "ab', 4, "the file ends inside a value"),
        ('[{"a": 1}, {"a": ', 11, "the file ends inside a value"),
        ("[1, 2, tru", 7, "Expecting value"),
        ("[1 2]", 3, "expected , or ], found 2"),
        ("[1, ]", 4, "Expecting value"),
        ("[é1]", 1, "Expecting value"),
        ("[1, 2-3]", 5, "expected , or ], found -"),
        ("[1] x", 4, "more text after the end"),
        ("[NaN]", 1, "NaN is no JSON number"),
        ('["a\x01b"]', 3, "Invalid control character"),
    ],
)
def test_damage_is_named_with_file_and_byte(tmp_path, text, byte, what):
    file = put(tmp_path / "broken.json", text)
    with pytest.raises(DataError) as caught:
        list(read_array(file))
    message = str(caught.value)
    assert message.startswith(f"{file}: malformed JSON at byte ")
    assert int(message.split("byte ")[1].split()[0]) == byte
    assert what in message
    assert "fetch it again" in message


def test_items_before_the_damage_are_given_and_the_offset_counts_bytes(tmp_path, chunk):
    text = json.dumps(["ééé"] * 5, ensure_ascii=False)[:-1] + ', {"a" 1}, ' + ", ".join(["2"] * 40) + "]"
    file = put(tmp_path / "b.json", text)
    items = read_array(file)
    assert [next(items) for _ in range(5)] == ["ééé"] * 5
    with pytest.raises(DataError, match="malformed JSON at byte") as caught:
        next(items)
    found = int(str(caught.value).split("byte ")[1].split()[0])
    assert abs(found - text.encode().index(b"1}")) <= 2


def test_damage_in_the_middle_does_not_read_on_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(stream._Text.more, "__defaults__", (64,))
    file = put(tmp_path / "b.json", '[{"a" 1}' + ", 7" * 10_000 + "]")
    read: list[int] = []
    with watching(read.append), pytest.raises(DataError, match=r"at byte 6 .*Expecting ':'"):
        list(read_array(file))
    assert sum(read) <= 128


def test_unclosed_string_stops_at_the_largest_item(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "LARGEST_ITEM", 500)
    monkeypatch.setattr(stream._Text.more, "__defaults__", (64,))
    monkeypatch.setattr(stream, "CHUNK", 64)
    file = put(tmp_path / "b.json", '["' + "x" * 100_000)
    read: list[int] = []
    with watching(read.append), pytest.raises(DataError, match="longer than 500 characters"):
        list(read_array(file))
    assert sum(read) < 3000


def test_other_files_are_told(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json: file is missing"):
        list(read_array(tmp_path / "gone.json"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_array(tmp_path))
    with pytest.raises(DataError, match="must hold an array at byte 0, found an object"):
        list(read_array(put(tmp_path / "o.json", {"a": 1})))
    with pytest.raises(DataError, match="must hold an object at byte 0, found an array"):
        list(read_object(put(tmp_path / "a.json", [1])))
    with pytest.raises(DataError, match="must hold an array at byte 0, found nothing"):
        list(read_array(put(tmp_path / "e.json", "")))
    with pytest.raises(DataError, match="has no member 'data', only 'info', 'list'"):
        list(read_array(put(tmp_path / "k.json", {"info": 1, "list": []}), "data"))
    with pytest.raises(DataError, match="must hold an array at byte 9, found a value that begins with 3"):
        list(read_array(put(tmp_path / "n.json", {"data": 3}), "data"))


def test_bytes_that_are_no_utf_8(tmp_path):
    file = tmp_path / "latin.json"
    file.write_bytes(b'["ab", "caf\xe9", 1]')
    with pytest.raises(DataError, match="no UTF-8 near byte 11"):
        list(read_array(file))


class Counting:
    """A file that counts what was read, wherever it is."""

    def __init__(self, opened: Any) -> None:
        self.opened, self.total = opened, 0

    def read(self, size: int) -> bytes:
        text = self.opened.read(size)
        self.total += len(text)
        return text

    def __enter__(self) -> "Counting":
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()


def test_never_reads_more_than_a_chunk_ahead(tmp_path, monkeypatch):
    size = 1000
    monkeypatch.setattr(stream._Text.more, "__defaults__", (size,))
    monkeypatch.setattr(stream, "CHUNK", size)
    files: list[Counting] = []
    texts: list[stream._Text] = []
    opened, made = stream._opened, stream._Text.__init__

    def counting(file: Path) -> Any:
        files.append(Counting(opened(file)))
        return files[-1]

    def noting(self: stream._Text, *args: Any) -> None:
        texts.append(self)
        made(self, *args)

    monkeypatch.setattr(stream, "_opened", counting)
    monkeypatch.setattr(stream._Text, "__init__", noting)
    item = {"question": "x" * 80}
    file = put(tmp_path / "big.json", {"info": 1, "skipped": [item] * 500, "data": [item] * 3000})
    used = file.read_bytes().index(b'"data"')
    for number, got in enumerate(read_array(file, "data")):
        assert got == item
        used_now = used + number * (len(json.dumps(item)) + 2)
        assert files[0].total - used_now < 3 * size
        assert len(texts[0].buffer) < 3 * size


def test_watchers_hear_every_byte_once_and_only_in_their_block(tmp_path):
    file = put(tmp_path / "a.json", [1, 2, 3])
    heard: list[int] = []
    with watching(heard.append):
        list(read_array(file))
    list(read_array(file))
    assert sum(heard) == file.stat().st_size
