"""The reply file: lines, keys, and what a kill leaves of it."""

from pathlib import Path
from zlib import crc32

import pytest

from coin_lightning.evaluation.judges.replies import Judged, ReplyWriter, read_replies, request_key

IDENTITY = {"judge": "fake", "model": "m", "version": "1", "temperature": 0.0, "seed": None, "variant": "strict"}
FIRST = Judged("k1", "q1", "8", 8.0)
ODD = Judged("k2", "q2", 'caf\u00e9 \u2028 \n\ud800 "8"', None, version="m-2024")


def write(file: Path, *lines: Judged) -> None:
    with ReplyWriter(file) as writer:
        for line in lines:
            writer.write([line])


def test_lines_come_back_as_they_went(tmp_path: Path):
    file = tmp_path / "deep" / "gqa.jsonl"
    write(file, FIRST, ODD)
    assert list(read_replies(file)) == [FIRST, ODD]
    assert file.read_bytes().count(b"\n") == 2
    fields = '"key": "k1", "question_id": "q1", "reply": "8", "score": 8.0'
    checksum = crc32(f"{{{fields}}}".encode())
    assert file.read_text().splitlines()[0] == f'{{{fields}, "crc32": {checksum}}}'


def test_a_file_grows_and_nothing_is_written_without_a_line(tmp_path: Path):
    file = tmp_path / "gqa.jsonl"
    write(file)
    assert not file.exists()
    assert list(read_replies(file)) == []
    write(file, FIRST)
    before = file.read_bytes()
    write(file, ODD)
    assert file.read_bytes().startswith(before)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path, cut: int):
    file = tmp_path / "gqa.jsonl"
    write(file, FIRST, ODD)
    file.write_bytes(file.read_bytes()[:-cut])
    kept = list(read_replies(file))
    assert kept == ([FIRST, ODD] if cut == 1 else [FIRST])  # only the end of line is missing
    write(file, FIRST)
    assert list(read_replies(file)) == [*kept, FIRST]


@pytest.mark.parametrize(("old", "new"), [('"8"', '"9"'), ("8.0", "9.0"), ('"q1"', '"q3"'), ('"k1"', '"k3"')])
def test_a_line_of_which_a_bit_has_changed_is_passed_over(tmp_path: Path, old: str, new: str):
    file = tmp_path / "gqa.jsonl"
    write(file, FIRST, ODD)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    assert list(read_replies(file)) == [ODD]


def test_lines_from_before_there_were_checksums_count(tmp_path: Path):
    file = tmp_path / "gqa.jsonl"
    file.write_text('{"key": "k1", "question_id": "q1", "reply": "8", "score": 8.0}\n')
    assert list(read_replies(file)) == [FIRST]


@pytest.mark.parametrize("line", ["", "{}", "[]", "8", "null", '{"key": 1, "question_id": "q", "reply": "8"}', "{"])
def test_a_line_that_is_something_else_is_passed_over(tmp_path: Path, line: str):
    file = tmp_path / "gqa.jsonl"
    write(file, FIRST)
    with file.open("a") as stream:
        stream.write(line + "\n")
    write(file, ODD)
    assert list(read_replies(file)) == [FIRST, ODD]


def test_a_key_depends_on_who_is_asked_what():
    key = request_key(IDENTITY, ["question"])
    assert key == request_key(dict(reversed(IDENTITY.items())), ["question"])
    assert len(key) == 64
    others = [{**IDENTITY, name: "other"} for name in ("judge", "model", "version", "temperature", "seed")]
    keys = {key, request_key(IDENTITY, ["another"]), *(request_key(other, ["question"]) for other in others)}
    assert len(keys) == 7


def test_how_a_reply_is_read_is_no_part_of_the_key():
    assert request_key({**IDENTITY, "variant": "reference"}, []) == request_key(IDENTITY, [])
