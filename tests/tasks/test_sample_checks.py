"""Lengths and images of samples; the messages as a task gives them are in `test_base.py`."""

import pytest
from PIL import Image

from coin_lightning.backbones import tiny
from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.image_ledger import Survey
from coin_lightning.tasks.lengths import sample_lengths
from coin_lightning.tasks.sample_checks import LEDGER, broken_images, too_long
from coin_lightning.tasks.sample_format import Media, TestSample, TrainSample
from coin_lightning.tasks.sample_sequence import as_samples


def learn(name: str, answer: str, image: str | None = None) -> TrainSample:
    return TrainSample(
        name, (Turn("q", answer, images=image is not None),), (Media(image),) if image else (), f"sample {name}"
    )


def ask(name: str, text: str, image: str | None = None) -> TestSample:
    return TestSample(name, text, (Media(image),) if image else (), {}, f"sample {name}")


@pytest.fixture
def encoder(tmp_path) -> Encoder:
    return Encoder(tiny.load(max_length=100), tmp_path, None)


def long(samples, encoder: Encoder, room: int) -> tuple[list[str], int]:
    return too_long(samples, sample_lengths(samples, encoder, encoder.image_root), encoder, room)


def test_a_sample_that_does_not_fit_is_told_with_its_length(encoder):
    samples = [learn("a", "x"), learn("b", "x" * 100), learn("c", "y")]
    assert long(as_samples(samples), encoder, 8) == (
        [
            f"sample b: {len(encoder.encode(samples[1])[0])} tokens with an answer of 101 tokens do not fit "
            "backbone.max_length=100; raise it or shorten the sample"
        ],
        0,
    )


def test_answers_need_room(encoder):
    samples = as_samples([ask("a", "x" * 20)])
    needed = len(encoder.encode(samples[0])[0])
    assert long(samples, encoder, 100 - needed) == ([], 0)
    (line,), _ = long(samples, encoder, 101 - needed)
    assert f"{needed} tokens with {101 - needed} answer tokens do not fit" in line


def test_broken_images_are_told_with_the_last_sample_that_shows_them(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    for name in ("bad.png", "worse.png"):
        (tmp_path / name).write_bytes(b"no image")
    tests = as_samples([ask("1", "q", "worse.png"), ask("2", "q", "bad.png")])
    trains = as_samples([learn("3", "a", "bad.png"), learn("4", "a", "good.png"), learn("5", "a", "bad.png")])
    lines, survey = broken_images(tests, trains, tmp_path, tmp_path / "features")
    assert [line.split(":")[0] for line in lines] == ["sample 1", "sample 5"]
    assert all("image cannot be opened" in line for line in lines)
    assert set(survey.facts) == {"good.png"}
    assert (tmp_path / "features" / LEDGER).exists()


def test_no_images_and_no_samples(tmp_path, encoder):
    assert broken_images(as_samples([]), as_samples([learn("1", "a")]), tmp_path, tmp_path) == ([], Survey())
    assert long(as_samples([]), encoder, 3) == ([], 0)


def test_samples_are_cut_where_that_is_wanted_but_never_to_nothing(tmp_path):
    encoder = Encoder(tiny.load(max_length=100), tmp_path, None, cuts=True)
    long_question = TrainSample("c", (Turn("q" * 200, "a"),), (), "sample c")
    samples = as_samples([learn("a", "x"), learn("b", "x" * 100), long_question])
    (line,), cut = long(samples, encoder, 8)
    assert cut == 1
    assert line.startswith("sample c: cut at backbone.max_length=100 tokens it loses all of its answers")
    ids, labels = encoder.encode(samples[1])
    whole, whole_labels = encoder.whole(samples[1])
    assert len(whole) > 100
    assert (ids, labels) == (whole[:100], whole_labels[:100])


def test_answers_may_go_on_beyond_the_context_where_samples_are_cut(tmp_path):
    """As in the published code, which allows 1024 tokens of a context of 2048; a right answer must fit all the same."""
    encoder = Encoder(tiny.load(max_length=300), tmp_path, None, cuts=True)
    around = len(encoder.encode(ask("a", ""))[0])
    assert long(as_samples([ask("a", "x" * (300 - 128 - around))]), encoder, 1024) == ([], 0)
    (line,), _ = long(as_samples([ask("a", "x" * (301 - 128 - around))]), encoder, 1024)
    assert "173 tokens with 128 answer tokens do not fit backbone.max_length=300" in line
    (line,), _ = long(as_samples([ask("a", "x" * (301 - 30 - around))]), encoder, 30)
    assert "271 tokens with 30 answer tokens do not fit backbone.max_length=300" in line


def test_a_image_is_never_cut(tmp_path):
    backbone = tiny.load(max_length=100)
    short = Encoder(backbone, tmp_path, None, cuts=True)
    sample = learn("a", "x", "p.png")
    backbone.max_length = short.whole(sample)[0].index(backbone.image_token_id) + 1
    (line,), cut = long(as_samples([sample]), short, 8)
    assert (cut, "a part of its images" in line) == (0, True)


def test_questions_to_answer_are_never_cut(tmp_path):
    encoder = Encoder(tiny.load(max_length=100), tmp_path, None, cuts=True)
    sample = ask("a", "x" * 200)
    assert encoder.encode(sample) == encoder.whole(sample)
    lines, cut = long(as_samples([sample]), encoder, 8)
    assert (len(lines), cut) == (1, 0)
