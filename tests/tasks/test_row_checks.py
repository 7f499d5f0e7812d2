"""Lengths and images of rows; the messages as a task gives them are in `test_base.py`."""

import pytest
from PIL import Image

from coin_lightning.backbones import tiny
from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.image_ledger import Survey
from coin_lightning.tasks.lengths import row_lengths
from coin_lightning.tasks.row_checks import LEDGER, broken_images, too_long
from coin_lightning.tasks.row_format import Media, TestRow, TrainRow
from coin_lightning.tasks.row_sequence import as_rows


def learn(name: str, answer: str, image: str | None = None) -> TrainRow:
    return TrainRow(
        name, (Turn("q", answer, images=image is not None),), (Media(image),) if image else (), f"row {name}"
    )


def ask(name: str, text: str, image: str | None = None) -> TestRow:
    return TestRow(name, text, (Media(image),) if image else (), {}, f"row {name}")


@pytest.fixture
def encoder(tmp_path) -> Encoder:
    return Encoder(tiny.load(max_length=100), tmp_path, None)


def long(rows, encoder: Encoder, room: int) -> tuple[list[str], int]:
    return too_long(rows, row_lengths(rows, encoder, encoder.image_root), encoder, room)


def test_a_row_that_does_not_fit_is_told_with_its_length(encoder):
    rows = [learn("a", "x"), learn("b", "x" * 100), learn("c", "y")]
    assert long(as_rows(rows), encoder, 8) == (
        [
            f"row b: {len(encoder.encode(rows[1])[0])} tokens with an answer of 101 tokens do not fit "
            "backbone.max_length=100; raise it or shorten the row"
        ],
        0,
    )


def test_answers_need_room(encoder):
    rows = as_rows([ask("a", "x" * 20)])
    needed = len(encoder.encode(rows[0])[0])
    assert long(rows, encoder, 100 - needed) == ([], 0)
    (line,), _ = long(rows, encoder, 101 - needed)
    assert f"{needed} tokens with {101 - needed} answer tokens do not fit" in line


def test_broken_images_are_told_with_the_last_row_that_shows_them(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    for name in ("bad.png", "worse.png"):
        (tmp_path / name).write_bytes(b"no image")
    tests = as_rows([ask("1", "q", "worse.png"), ask("2", "q", "bad.png")])
    trains = as_rows([learn("3", "a", "bad.png"), learn("4", "a", "good.png"), learn("5", "a", "bad.png")])
    lines, survey = broken_images(tests, trains, tmp_path, tmp_path / "features")
    assert [line.split(":")[0] for line in lines] == ["row 1", "row 5"]
    assert all("image cannot be opened" in line for line in lines)
    assert set(survey.facts) == {"good.png"}
    assert (tmp_path / "features" / LEDGER).exists()


def test_no_images_and_no_rows(tmp_path, encoder):
    assert broken_images(as_rows([]), as_rows([learn("1", "a")]), tmp_path, tmp_path) == ([], Survey())
    assert long(as_rows([]), encoder, 3) == ([], 0)


def test_rows_are_cut_where_that_is_wanted_but_never_to_nothing(tmp_path):
    encoder = Encoder(tiny.load(max_length=100), tmp_path, None, cuts=True)
    long_question = TrainRow("c", (Turn("q" * 200, "a"),), (), "row c")
    rows = as_rows([learn("a", "x"), learn("b", "x" * 100), long_question])
    (line,), cut = long(rows, encoder, 8)
    assert cut == 1
    assert line.startswith("row c: cut at backbone.max_length=100 tokens it loses all of its answers")
    ids, labels = encoder.encode(rows[1])
    whole, whole_labels = encoder.whole(rows[1])
    assert len(whole) > 100
    assert (ids, labels) == (whole[:100], whole_labels[:100])


def test_a_image_is_never_cut(tmp_path):
    backbone = tiny.load(max_length=100)
    short = Encoder(backbone, tmp_path, None, cuts=True)
    row = learn("a", "x", "p.png")
    backbone.max_length = short.whole(row)[0].index(backbone.image_token_id) + 1
    (line,), cut = long(as_rows([row]), short, 8)
    assert (cut, "a part of its images" in line) == (0, True)


def test_questions_to_answer_are_never_cut(tmp_path):
    encoder = Encoder(tiny.load(max_length=100), tmp_path, None, cuts=True)
    row = ask("a", "x" * 200)
    assert encoder.encode(row) == encoder.whole(row)
    lines, cut = long(as_rows([row]), encoder, 8)
    assert (len(lines), cut) == (1, 0)
