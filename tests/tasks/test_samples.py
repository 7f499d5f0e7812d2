"""Reading files of samples: every problem with its place, images as published ones write them, several in a sample."""

import json
import os
import re
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks.samples import image_path, read_test, read_train, repeated, scan_test, scan_train


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.jpg"):
        (folder / name).write_bytes(b"image")
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    return folder


def put(tmp_path: Path, samples: object) -> Path:
    file = tmp_path / "samples.json"
    file.write_text(samples if isinstance(samples, str) else json.dumps(samples))
    return file


def talk(*values: str, **fields: object) -> dict:
    parts = [{"from": ("human", "gpt")[at % 2], "value": value} for at, value in enumerate(values)]
    return {"id": "x", "conversations": parts, **fields}


def problems_of(read, file: Path, images: Path) -> list[str]:
    with pytest.raises(DataError) as refusal:
        read(file, images)
    return [line.replace(f"{file} ", "") for line in refusal.value.problems]


def test_a_training_sample_by_hand(tmp_path, images):
    sample = talk("<image>\nWhat?", " A cat\n", "Sure?", "Yes", id="7", image="./deep/b.jpg")
    (read,) = read_train(put(tmp_path, [sample]), images)
    assert (read.id, read.image) == ("7", "deep/b.jpg")
    assert [(turn.question, turn.answer) for turn in read.turns] == [("What?", "A cat"), ("Sure?", "Yes")]
    assert read.where == f"{tmp_path / 'samples.json'} sample 0"


def test_a_test_sample_by_hand_keeps_the_data_sets_own_fields(tmp_path, images):
    sample = {"question_id": 12, "id": "other", "image": "a.jpg", "text": "Where?", "answer": "", "size": [3, 4]}
    (read,) = read_test(put(tmp_path, [sample]), images)
    assert (read.id, read.text, read.image) == ("12", "Where?", "a.jpg")
    assert read.fields == {"answer": "", "size": [3, 4]}


def test_every_problem_of_a_training_file_is_listed_with_its_sample(tmp_path, images):
    samples = [
        talk("q", "a", id="same"),
        "no object",
        talk("q", "a", id=""),
        {"id": "3"},
        talk("q", id="4"),
        {"id": "5", "conversations": [{"from": "gpt", "value": "a"}, {"from": "gpt", "value": 3}], "image": "none.jpg"},
        talk(" ", "", id="6"),
        talk("q", "a", id="same"),
        talk("q", "see <image>", id="8"),
        talk("<image>\nq", "a", id="9", image="../secret.jpg"),
        talk("<image>\nq", "a", id="10", image=["a.jpg", 3, "no.jpg"]),
        talk("<image>\nq", "a", id="11", image="a.jpg"),
        talk("q", "a", id="12", image="a.jpg"),
    ]
    assert problems_of(read_train, put(tmp_path, samples), images) == [
        "sample 1: must be an object, found str",
        "sample 2: field 'question_id' or 'id' is missing or empty",
        "sample 3: field 'conversations' must be a list of question and answer pairs",
        "sample 4: field 'conversations' must be a list of question and answer pairs",
        "sample 5: conversations[0] must be {'from': 'human', 'value': text}",
        "sample 5: conversations[1] must be {'from': 'gpt', 'value': text}",
        f"sample 5: image {images / 'none.jpg'} is missing; restore it or remove the sample",
        "sample 6: conversations[0] has an empty question",
        "sample 6: conversations[1] has an empty answer",
        "sample 7: id 'same' is already used by sample 0; ids must be unique, or set data.repeated_train_ids=allow",
        "sample 8: conversations[1] has <image> in an answer; only a question can show one",
        f"sample 9: image '../secret.jpg' leaves the image folder {images}; use a relative path inside it",
        "sample 10: has 1 <image>, but field 'image' names 3 images; give each image one <image> in front of the "
        "question that shows it",
        "sample 10: field 'image' must be a path below the image folder or a list of paths, found 3",
        f"sample 10: image {images / 'no.jpg'} is missing; restore it or remove the sample",
        "sample 12: has an image, but no <image>; put it in front of the first question, or remove field 'image'",
    ]


def test_every_problem_of_a_test_file_is_listed_with_its_sample(tmp_path, images):
    samples = [
        {"question_id": 1, "text": "q"},
        {"question_id": "1", "text": "the same id as text"},
        {"question_id": 2, "text": "  "},
        {"question_id": 3, "image": "/etc/passwd"},
        {"text": "q"},
    ]
    assert problems_of(read_test, put(tmp_path, samples), images) == [
        "sample 1: id '1' is already used by sample 0; ids must be unique",
        "sample 2: field 'text' is missing or empty",
        "sample 3: field 'text' is missing or empty",
        f"sample 3: image '/etc/passwd' leaves the image folder {images}; use a relative path inside it",
        "sample 4: field 'question_id' or 'id' is missing or empty",
    ]


@pytest.mark.parametrize("value", ["../secret.jpg", "deep/../../secret.jpg", "/a.jpg", "deep\\..\\..\\secret.jpg"])
def test_paths_that_leave_the_folder(images, value):
    with pytest.raises(DataError, match="leaves the image folder"):
        image_path(value, images)


@pytest.mark.parametrize(
    ("value", "found"),
    [("./a.jpg", "a.jpg"), ("a.jpg.jpg", "a.jpg"), ("./deep//b.jpg.jpg", "deep/b.jpg")],
)
def test_paths_as_published_rows_write_them(images, value, found):
    assert image_path(value, images) == found


def test_a_file_that_really_ends_twice_is_taken_as_it_is(images):
    (images / "a.jpg.jpg").write_bytes(b"another image")
    assert image_path("a.jpg.jpg", images) == "a.jpg.jpg"


@pytest.mark.parametrize("value", ["none.jpg", "none.jpg.jpg", "deep", "a.jpg\0", "n" * 5000])
def test_paths_without_a_file(images, value):
    with pytest.raises(DataError, match="is missing; restore it or remove the sample"):
        image_path(value, images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": "1", ', "malformed JSON .behind item 0: parse error: premature EOF"),
        ("", "malformed JSON"),
        ("{}", "must hold a non-empty list of samples, found dict"),
        ("[]", "must hold a non-empty list of samples, found list"),
    ],
    ids=["cut", "empty file", "object", "no samples"],
)
def test_files_that_are_no_list_of_samples(tmp_path, images, content, message):
    file = put(tmp_path, content)
    with pytest.raises(DataError, match=f"{re.escape(str(file))}: {message}"):
        read_train(file, images)


def test_a_image_is_looked_for_once_however_its_path_is_written(tmp_path, images, monkeypatch):
    looked = []
    real = os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: looked.append(Path(path).name) or real(path))
    written = ["a.jpg", "./a.jpg", "a.jpg.jpg", "./deep/b.jpg", None]
    samples = [talk("<image>q" if written[at % 5] else "q", "a", id=at, image=written[at % 5]) for at in range(50)]
    read = read_train(put(tmp_path, samples), images)
    assert sorted(looked) == ["a.jpg", "a.jpg", "a.jpg", "a.jpg.jpg", "b.jpg"]
    assert read.images == ["a.jpg", "deep/b.jpg"]
    assert [sample.image for sample in read[:5]] == ["a.jpg", "a.jpg", "a.jpg", "deep/b.jpg", None]


def test_ids_of_training_samples_may_be_repeated_where_that_is_allowed(tmp_path, images):
    file = put(tmp_path, [talk(f"q{at}", "a", id="1" if at % 2 else at) for at in range(5)])
    read = read_train(file, images, repeated_ids="allow")
    assert read.ids == ["0", "1", "2", "1", "4"]
    assert [sample.turns[0].question for sample in read] == [f"q{at}" for at in range(5)]
    assert repeated(read) == 1
    with pytest.raises(DataError, match=r"sample 3: id '1' is already used by sample 1; .*repeated_train_ids=allow"):
        read_train(file, images)


def test_a_file_of_the_other_kind_is_named_in_one_line(tmp_path, images):
    questions = [{"question_id": at, "text": "q", "answer": "a"} for at in range(9)]
    assert problems_of(read_train, put(tmp_path, questions), images) == [
        f"{tmp_path / 'samples.json'}: holds evaluation questions ('text') where training conversations "
        "('conversations') are needed; check which split is in this file"
    ]
    (line,) = problems_of(read_test, put(tmp_path, [talk("q", "a", id=at) for at in range(9)]), images)
    assert "holds training conversations ('conversations') where evaluation questions ('text') are needed" in line
    assert len(problems_of(read_train, put(tmp_path, [*questions, talk("q", "a")]), images)) == 9


def test_a_scan_goes_on_behind_samples_with_problems(tmp_path, images):
    samples = [
        talk("q", "a", id=0),
        talk("q", id=1),
        talk("<image>\nq", "a", id=0, image="a.jpg"),
        talk("<image>\nq", "a", id=3, image="a.jpg"),
    ]
    found, problems = scan_train(put(tmp_path, samples), images)
    assert (len(found), sorted(problems)) == (4, [1, 2])
    assert problems[1] == ["field 'conversations' must be a list of question and answer pairs"]
    assert found.where(1) == f"{tmp_path / 'samples.json'} sample 1"
    assert found[3].image == "a.jpg"
    asked, problems = scan_test(put(tmp_path, [{"id": 1, "text": "q", "answer": 3}]), images)
    assert (asked[0].fields, problems) == ({"answer": 3}, {})


def test_a_sample_may_show_several_images(tmp_path, images):
    samples = [
        talk("<image>\n<image>\nq", "a", id=1, image=["./deep/b.jpg", "a.jpg"]),
        talk("q", "a", id=2),
        talk("<image>\nq", "a", "q\n<image>", "b", id=3, image=["a.jpg", "a.jpg"]),
    ]
    read = read_train(put(tmp_path, samples), images)
    assert [[media.path for media in sample.media] for sample in read] == [
        ["deep/b.jpg", "a.jpg"],
        [],
        ["a.jpg", "a.jpg"],
    ]
    assert [[turn.images for turn in sample.turns] for sample in read] == [[2], [0], [1, 1]]
    assert (read.images, read.without_image()) == (["deep/b.jpg", "a.jpg"], 1)


def test_fields_that_nothing_reads_are_counted(tmp_path, images):
    samples = [
        talk("<image>\nq", "a", id=at, image="a.jpg", **({"weight": 2} if at else {}), model="") for at in range(3)
    ]
    assert read_train(put(tmp_path, samples), images).unread() == {"weight": 2, "model": 3}
    asked = [{"id": 1, "text": "q", "answer": "a", "choices": ["a"], "conversations": 3, "split": "val"}]
    assert read_test(put(tmp_path, asked), images).unread() == {"conversations": 1, "split": 1}
