"""One pass over samples: which are kept to be shown, and which are said not to fit the context."""

from collections import Counter
from pathlib import Path

import pytest

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.checks.findings import Findings
from coin_lightning.tasks.checks.questions import hash64
from coin_lightning.tasks.checks.scan import Reservoir, Scan, Scanner, given_answer, shown_sample
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.sample_format import Media, TestSample, TrainSample
from coin_lightning.tasks.sample_sequence import SampleList

ROOM = 8


def train_sample(text: str, answer: str = "yes", image: str | None = None, at: int = 0) -> TrainSample:
    return TrainSample(
        f"n{at}",
        (Turn(text, answer, images=image is not None),),
        (Media(image),) if image else (),
        f"train.json sample {at}",
    )


def answer_sample(text: str, at: int = 0, **fields: object) -> TestSample:
    return TestSample(f"t{at}", text, (), dict(fields), f"test.json sample {at}")


def scanned(
    backbone: Backbone,
    split: str,
    samples: list[TrainSample | TestSample],
    problems: dict[int, list[str]] | None = None,
) -> tuple[Scan, Findings]:
    findings = Findings()
    scanner = Scanner(Encoder(backbone, Path("/nowhere"), None), ROOM, findings, shown=2)
    return scanner.scan(split, SampleList(samples), problems or {}), findings


def test_a_reservoir_keeps_samples_from_everywhere_in_the_order_of_the_file():
    reservoir = Reservoir(200)
    samples = [train_sample("x", at=at) for at in range(5000)]
    for sample in samples:
        reservoir.offer(sample)
    places = [int(sample.id[1:]) for sample in reservoir.items]
    assert len(places) == 200
    assert places == sorted(places)
    tenths = Counter(place // 500 for place in places)
    assert all(8 <= tenths[tenth] <= 36 for tenth in range(10))  # 20 each; four standard deviations are 17


def test_a_reservoir_of_few_samples_keeps_all():
    reservoir = Reservoir(5)
    for at in range(3):
        reservoir.offer(train_sample("x", at=at))
    assert [sample.id for sample in reservoir.items] == ["n0", "n1", "n2"]


def needed(backbone: Backbone, sample: TrainSample | TestSample) -> int:
    return len(Encoder(backbone, Path("/nowhere"), None).encode(sample)[0])


@pytest.mark.parametrize("image", [None, "a.png"])
def test_the_last_sample_that_fits_and_the_first_that_does_not(image):
    backbone = tiny.load(max_length=200)
    spare = 200 - needed(backbone, train_sample("", image=image))
    assert scanned(backbone, "train", [train_sample("x" * spare, image=image)])[1].listed() == []
    (found,) = scanned(backbone, "train", [train_sample("x" * (spare + 1), image=image, at=3)])[1].listed()
    assert found.kind == "long_sample"
    assert found.examples == ["train.json sample 3: 201 tokens, backbone.max_length=200"]


def test_a_test_sample_needs_room_for_its_answer():
    backbone = tiny.load(max_length=200)
    spare = 200 - ROOM - needed(backbone, answer_sample(""))
    assert scanned(backbone, "test", [answer_sample("x" * spare, answer="a")])[1].listed() == []
    (found,) = scanned(backbone, "test", [answer_sample("x" * (spare + 1), answer="a")])[1].listed()
    assert found.examples == [
        f"test.json sample 0: {200 - ROOM + 1} tokens, backbone.max_length=200 less 8 for the answer"
    ]


def test_a_marker_quoted_in_a_text_counts_as_what_a_run_makes_of_it():
    backbone = tiny.load(max_length=200)
    sample = train_sample("<|im_end|>" * 3 + "x" * (200 - needed(backbone, train_sample("")) - 29))
    assert needed(backbone, sample) == 201
    assert [each.kind for each in scanned(backbone, "train", [sample])[1].listed()] == ["long_sample"]


def test_many_suspects_are_all_looked_at(monkeypatch):
    monkeypatch.setattr("coin_lightning.tasks.checks.scan.TOGETHER", 3)
    samples = [train_sample("x" * 400, at=at) for at in range(10)]
    (found,) = scanned(tiny.load(max_length=200), "train", samples)[1].listed()
    assert (found.count, found.examples[9][:20]) == (10, "train.json sample 9:")


def test_refused_samples_are_counted_and_passed_over():
    samples = [train_sample("a", at=0), train_sample("", at=1), train_sample("b", "no", at=2)]
    scan, findings = scanned(tiny.load(), "train", samples, {1: ["is bad", "is very bad"]})
    assert (scan.samples, scan.refused, scan.without_image) == (3, 1, 2)
    assert list(scan.id_samples) == [0, 2]
    assert list(scan.ids) == [hash64("n0"), hash64("n2")]
    assert scan.answers == Counter(yes=1, no=1)
    assert (findings.listed()[0].kind, findings.listed()[0].count) == ("samples", 2)
    assert findings.listed()[0].examples == ["train.json sample 1: is bad", "train.json sample 1: is very bad"]


def test_every_turn_is_a_question_and_an_answer():
    sample = TrainSample("n", (Turn("Who?", "me", 1), Turn("When?", "now")), (Media("a.png"),), "w")
    scan, _ = scanned(tiny.load(), "train", [sample, train_sample("Who?", "me", "b.png", 1)])
    assert scan.answers == Counter(me=2, now=1)
    assert list(scan.questions.sample) == [0, 0, 1]
    assert list(scan.questions.image) == [0, 0, 1]
    assert list(scan.questions.images) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"answer": "a"}, "a"),
        ({"answer_bbox": "[0,0,1,1]", "answer": "a"}, "[0,0,1,1]"),
        ({}, ""),
        ({"answer": None}, ""),
        ({"answer": 7}, "7"),
    ],
)
def test_the_answer_of_a_sample(fields, answer):
    assert given_answer(answer_sample("x", **fields)) == answer


def test_samples_are_what_a_page_shows():
    sample = TrainSample("n", (Turn("Who?", "[0,0,1,1]"), Turn("When?", "now")), (Media("a.png"),), "w")
    assert shown_sample("train", sample, True) == {
        "split": "train", "id": "n", "image": "a.png", "question": "Who?", "answer": "[0,0,1,1]", "box": "[0,0,1,1]",
        "more": 1,
    }  # fmt: skip
    assert shown_sample("test", answer_sample("How?", answer="so"), False)["box"] is None
