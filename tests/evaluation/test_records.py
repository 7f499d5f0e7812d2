"""JSONL files of answer records: round trip, atomic writing, errors with file and line, merging of processes."""

import json

import pytest

from coin_lightning.errors import DataError
from coin_lightning.evaluation.records import (
    AnswerRecord,
    merge_records,
    read_records,
    write_records,
)


def record(key: str, prediction: str = "yes", task: str = "gqa", **reference) -> AnswerRecord:
    return AnswerRecord(task, key, "Is it?\nAnswer the question.", prediction, reference or {"answer": "yes"})


LINE = json.dumps(record("1").to_json())


def test_round_trip_keeps_every_character(tmp_path):
    texts = ["", " x ", 'quote " and \\', "two\nlines\r\n", "\u2028\u2029\x85", "コーヒー", "\ud800 alone", "\x00"]
    records = [record(str(i), text, answers=[text], size=[1, 2.5], none=None) for i, text in enumerate(texts)]
    path = tmp_path / "new" / "gqa.jsonl"
    assert write_records(path, records) == len(texts)
    assert read_records(path) == records
    assert len(path.read_bytes().decode().split("\n")) == len(texts) + 1


def test_file_is_plain_jsonl_in_field_order(tmp_path):
    write_records(tmp_path / "a.jsonl", [record("7", "Kaffee für zwei")])
    expected = (
        '{"task": "gqa", "question_id": "7", "prompt": "Is it?\\nAnswer the question.", '
        '"prediction": "Kaffee für zwei", "reference": {"answer": "yes"}}\n'
    )
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == expected


def test_failed_write_leaves_the_old_file_and_no_scratch(tmp_path):
    path = tmp_path / "gqa.jsonl"
    write_records(path, [record("1")])
    with pytest.raises(DataError, match="gqa, question 3: the record cannot be written as JSON"):
        write_records(path, [record("2"), record("3", image=object())])
    with pytest.raises(DataError, match="question 4"):
        write_records(path, [record("4", score=float("nan"))])
    assert [r.question_id for r in read_records(path)] == ["1"]
    assert [p.name for p in tmp_path.iterdir()] == ["gqa.jsonl"]


def test_records_arriving_while_another_write_dies_are_not_seen(tmp_path):
    def dying():
        yield record("1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path / "gqa.jsonl", dying())
    assert list(tmp_path.iterdir()) == []


def test_all_malformed_lines_are_listed_with_file_and_line(tmp_path):
    path = tmp_path / "gqa.jsonl"
    bad = [
        LINE,
        "",
        LINE[:40],
        "[1]",
        '{"task": "gqa", "question_id": 5, "prompt": "", "reference": "yes"}',
        LINE,
    ]
    path.write_text("\n".join(bad), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_records(path)
    problems = caught.value.problems
    assert len(problems) == 3
    assert problems[0].startswith(f"{path}:3: not JSON (")
    assert problems[1] == f"{path}:4: a record is a JSON object, not list"
    assert problems[2].startswith(f"{path}:5: field 'question_id' is int, not text; no field 'prediction'; field 'ref")


def test_missing_and_undecodable_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: is missing; restore it, or remove scores\.json"):
        read_records(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"{}\n\xff")
    with pytest.raises(DataError, match=r"bytes\.jsonl: not UTF-8 at byte 3"):
        read_records(tmp_path / "bytes.jsonl")


def test_other_keys_are_ignored_and_the_record_is_frozen():
    got = AnswerRecord.from_json({**record("1").to_json(), "model_id": "x"})
    assert got == record("1")
    with pytest.raises(AttributeError):
        got.prediction = "no"  # type: ignore[misc]


def test_merge_restores_the_data_set_order_and_drops_repeats(tmp_path):
    order = ["q3", "q1", "q4", "q2", "q5"]
    shares = [["q3", "q4", "q5"], ["q1", "q2", "q3"]]  # a sampler of two processes repeats q3 to even out
    paths = [tmp_path / f"rank{rank}.jsonl" for rank in range(2)]
    for path, keys in zip(paths, shares, strict=True):
        write_records(path, [record(key) for key in keys])
    parts = [read_records(path) for path in paths]
    assert [r.question_id for r in merge_records(parts, order)] == order
    assert [r.question_id for r in merge_records(parts)] == ["q3", "q4", "q5", "q1", "q2"]
    assert [r.question_id for r in merge_records(parts[::-1], order)] == order


def test_conflicting_answers_are_refused():
    with pytest.raises(DataError, match=r"question 2: two answers, 'yes' .* and 'no'") as caught:
        merge_records([[record("1"), record("2")], [record("2", "no"), record("1")]])
    assert len(caught.value.problems) == 1


def test_equal_answers_of_two_tasks_under_one_id_are_refused():
    with pytest.raises(DataError, match=r"'yes' \(gqa\)"):
        merge_records([[record("1")], [record("1", task="vqav2")]])


def test_ids_that_do_not_match_the_data_set_are_refused():
    with pytest.raises(DataError) as caught:
        merge_records([[record("1"), record("9")]], order=["1", "2", "3"])
    assert caught.value.problems == [
        "question 9: answered, but not in the data set",
        "question 2: in the data set, but not answered",
        "question 3: in the data set, but not answered",
    ]


def test_merging_nothing_gives_nothing():
    assert merge_records([]) == []
    assert merge_records([[], []], order=[]) == []
