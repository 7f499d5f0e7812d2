import json
import re
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks.rows import chunks, draw, load_json, picture_path, read_test, read_train


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.jpg"):
        (folder / name).write_bytes(b"picture")
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    return folder


def put(tmp_path: Path, rows: object) -> Path:
    file = tmp_path / "rows.json"
    file.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return file


def talk(*values: str, **fields: object) -> dict:
    parts = [{"from": ("human", "gpt")[at % 2], "value": value} for at, value in enumerate(values)]
    return {"id": "x", "conversations": parts, **fields}


def problems_of(read, file: Path, images: Path) -> list[str]:
    with pytest.raises(DataError) as refusal:
        read(file, images)
    return [line.replace(f"{file} ", "") for line in refusal.value.problems]


def test_a_training_row_by_hand(tmp_path, images):
    row = talk("<image>\nWhat?", " A cat\n", "Sure?", "Yes", id="7", image="./deep/b.jpg")
    (read,) = read_train(put(tmp_path, [row]), images)
    assert (read.id, read.image) == ("7", "deep/b.jpg")
    assert [(turn.question, turn.answer) for turn in read.turns] == [("<image>\nWhat?", "A cat"), ("Sure?", "Yes")]
    assert read.where == f"{tmp_path / 'rows.json'} row 0"


def test_a_test_row_by_hand_keeps_the_data_sets_own_fields(tmp_path, images):
    row = {"question_id": 12, "id": "other", "image": "a.jpg", "text": "Where?", "answer": "", "size": [3, 4]}
    (read,) = read_test(put(tmp_path, [row]), images)
    assert (read.id, read.text, read.image) == ("12", "Where?", "a.jpg")
    assert read.fields == {"answer": "", "size": [3, 4]}


@pytest.mark.parametrize(
    ("fields", "identity"),
    [({"id": 0}, "0"), ({"id": "a"}, "a"), ({"question_id": 5, "id": "a"}, "5"), ({"question_id": None, "id": 3}, "3")],
)
def test_ids_may_be_numbers_and_question_id_goes_first(tmp_path, images, fields, identity):
    row = {key: value for key, value in talk("q", "a").items() if key != "id"} | fields
    assert read_train(put(tmp_path, [row]), images)[0].id == identity


def test_every_problem_of_a_training_file_is_listed_with_its_row(tmp_path, images):
    rows = [
        talk("q", "a", id="same"),
        "no object",
        talk("q", "a", id=""),
        {"id": "3"},
        talk("q", id="4"),
        {"id": "5", "conversations": [{"from": "gpt", "value": "a"}, {"from": "gpt", "value": 3}], "image": "none.jpg"},
        talk(" ", "", id="6"),
        talk("q", "a", id="same"),
        talk("q", "see <image>", id="8"),
        talk("q", "a", id="9", image="../secret.jpg"),
        talk("q", "a", id="10", image=["a.jpg"]),
        talk("q", "a", id="11", image="a.jpg"),
    ]
    assert problems_of(read_train, put(tmp_path, rows), images) == [
        "row 1: must be an object, found str",
        "row 2: field 'question_id' or 'id' is missing or empty",
        "row 3: field 'conversations' must be a list of question and answer pairs",
        "row 4: field 'conversations' must be a list of question and answer pairs",
        "row 5: conversations[0] must be {'from': 'human', 'value': text}",
        "row 5: conversations[1] must be {'from': 'gpt', 'value': text}",
        f"row 5: image {images / 'none.jpg'} is missing; restore it or remove the row",
        "row 6: conversations[0] has an empty question",
        "row 6: conversations[1] has an empty answer",
        "row 7: id 'same' is already used by row 0; ids must be unique",
        "row 8: conversations[1] has <image> in an answer; only a question can show one",
        f"row 9: image '../secret.jpg' leaves the image folder {images}; use a relative path inside it",
        "row 10: field 'image' must be a path, found ['a.jpg']",
    ]


def test_every_problem_of_a_test_file_is_listed_with_its_row(tmp_path, images):
    rows = [
        {"question_id": 1, "text": "q"},
        {"question_id": "1", "text": "the same id as text"},
        {"question_id": 2, "text": "  "},
        {"question_id": 3, "image": "/etc/passwd"},
        {"text": "q"},
    ]
    assert problems_of(read_test, put(tmp_path, rows), images) == [
        "row 1: id '1' is already used by row 0; ids must be unique",
        "row 2: field 'text' is missing or empty",
        f"row 3: image '/etc/passwd' leaves the image folder {images}; use a relative path inside it",
        "row 3: field 'text' is missing or empty",
        "row 4: field 'question_id' or 'id' is missing or empty",
    ]


@pytest.mark.parametrize("value", ["../secret.jpg", "deep/../../secret.jpg", "/a.jpg", "deep\\..\\..\\secret.jpg"])
def test_paths_that_leave_the_folder(images, value):
    found, (problem,) = picture_path({"image": value}, images, "here")
    assert found is None
    assert "leaves the image folder" in problem


@pytest.mark.parametrize(
    ("value", "found"),
    [("./a.jpg", "a.jpg"), ("a.jpg.jpg", "a.jpg"), ("./deep//b.jpg.jpg", "deep/b.jpg"), (None, None)],
)
def test_paths_as_published_rows_write_them(images, value, found):
    assert picture_path({"image": value}, images, "here") == (found, [])


def test_a_file_that_really_ends_twice_is_taken_as_it_is(images):
    (images / "a.jpg.jpg").write_bytes(b"another picture")
    assert picture_path({"image": "a.jpg.jpg"}, images, "here") == ("a.jpg.jpg", [])


@pytest.mark.parametrize("value", ["none.jpg", "none.jpg.jpg", "deep", "a.jpg\0", "n" * 5000])
def test_paths_without_a_file(images, value):
    found, (problem,) = picture_path({"image": value}, images, "here")
    assert found is None
    assert problem.endswith("is missing; restore it or remove the row")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": "1", ', "malformed JSON .*line 1 column"),
        ("", "malformed JSON"),
        ("[" * 100_000, "malformed JSON"),
        ("{}", "must hold a non-empty list of rows, found dict"),
        ("[]", "must hold a non-empty list of rows, found list"),
    ],
    ids=["cut", "empty file", "nested", "object", "no rows"],
)
def test_files_that_are_no_list_of_rows(tmp_path, images, content, message):
    file = put(tmp_path, content)
    with pytest.raises(DataError, match=f"{re.escape(str(file))}: {message}"):
        read_train(file, images)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: file is missing; check paths\.data"):
        load_json(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(DataError, match=r"latin\.json: malformed JSON .*utf-8"):
        load_json(tmp_path / "latin.json")
    with pytest.raises(DataError, match="cannot be read"):
        load_json(tmp_path)


def test_a_subset_depends_on_its_key_only_and_keeps_the_files_order():
    rows = list(range(100))
    drawn = draw(rows, 0.25, None, "0/gqa/train")
    assert len(drawn) == 25
    assert drawn == sorted(drawn) == draw(rows, 0.25, None, "0/gqa/train")
    assert drawn != draw(rows, 0.25, None, "1/gqa/train")
    assert drawn != draw(rows, 0.25, None, "0/vqav2/train")


@pytest.mark.parametrize(
    ("fraction", "limit", "count"),
    [(1.0, None, 10), (1.0, 99, 10), (0.5, None, 5), (0.5, 3, 3), (0.01, None, 1), (0.25, 9, 2)],
)
def test_sizes_of_subsets(fraction, limit, count):
    assert len(draw(range(10), fraction, limit, "k")) == count


@pytest.mark.parametrize(("fraction", "limit"), [(0.0, None), (1.01, None), (-1, None), (1.0, 0), (float("nan"), None)])
def test_senseless_subsets_are_refused(fraction, limit):
    with pytest.raises(DataError, match=r"fraction=.* must lie in \(0, 1\]"):
        draw(range(10), fraction, limit, "k")


def test_chunks():
    assert [list(part) for part in chunks(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []
