"""What sequences say of all their samples, whether these are in a table, in memory, or joined from several places."""

import json
import pickle
import random
from pathlib import Path

import pytest

from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.sample_format import Media, TrainSample
from coin_lightning.tasks.sample_sequence import Samples, as_samples
from coin_lightning.tasks.samples import read_train


def sample(name: str, *images: str) -> TrainSample:
    turns = (Turn("Why?", "ü", images=len(images)),)
    return TrainSample(name, turns, tuple(map(Media, images)), f"sample {name}")


SAMPLES = [sample("a", "1.jpg"), sample("b"), sample("c", "2.jpg", "3.jpg"), sample("d", "1.jpg", "1.jpg")]


@pytest.fixture
def filed(tmp_path: Path) -> Samples:
    """Forty samples of a file, on seven images: some show none, some several."""
    for at in range(7):
        (tmp_path / f"{at}.jpg").write_bytes(b"image")
    rng, samples = random.Random(3), []
    for at in range(40):
        images = [f"./{rng.randrange(7)}.jpg" for _ in range(rng.randrange(4))]
        texts = ["<image>\n" * len(images) + "Wo ist " + "ü" * rng.randrange(9), " hier ", "Und?", "da"]
        parts = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
        samples.append({"id": at, "image": images[0] if len(images) == 1 else images, "conversations": parts})
    (tmp_path / "samples.json").write_text(json.dumps(samples, ensure_ascii=False), encoding="utf-8")
    return read_train(tmp_path / "samples.json", tmp_path)


def same(filed: Samples, held: Samples) -> None:
    assert list(filed) == list(held)
    assert filed.ids == held.ids
    assert filed.images == held.images
    assert filed.same_images() == held.same_images()
    assert filed.without_image() == held.without_image() == sum(not sample.media for sample in held)
    assert filed.users(filed.images) == held.users(held.images)
    assert filed.users(["none.jpg"]) == {}
    assert [filed.where(at) for at in range(len(filed))] == [sample.where for sample in held]


@pytest.mark.parametrize("chosen", [[5, 3, 39, 3], [], [3, 7, 11], list(range(39, -1, -1)), list(range(40))])
def test_samples_of_a_file_say_what_a_list_says(filed, chosen):
    held = as_samples(list(filed))
    same(filed.select(chosen), held.select(chosen))
    same(filed.select(chosen)[1:3], held.select(chosen)[1:3])
    same(Samples.joined([filed.select(chosen), held]), Samples.joined([held.select(chosen), filed]))


def test_random_samples_are_taken_as_of_a_list(filed):
    assert random.Random(1).sample(filed, 10) == random.Random(1).sample(list(filed), 10)


def test_samples_travel_to_loader_processes(filed):
    part = pickle.loads(pickle.dumps(filed[2:5]))
    assert part == list(filed)[2:5]
    assert part.ids == ["2", "3", "4"]


def test_a_list_says_the_same_as_a_file_would():
    samples = as_samples(SAMPLES)
    assert as_samples(samples) is samples
    assert (samples.ids, samples.images) == (["a", "b", "c", "d"], ["1.jpg", "2.jpg", "3.jpg"])
    assert samples.users({"1.jpg", "none.jpg"}) == {"1.jpg": "sample d"}
    assert samples.where(2) == "sample c"


def test_sequences_behave_as_lists():
    samples = as_samples(SAMPLES)
    assert samples[-1] is SAMPLES[3]
    assert samples == SAMPLES
    assert samples[1:3] == SAMPLES[1:3]
    assert isinstance(samples[::2], Samples)
    assert samples.select([3, 0]) == [SAMPLES[3], SAMPLES[0]]
    assert samples != SAMPLES[:3]
    assert samples != [*SAMPLES[:3], SAMPLES[0]]
    assert (samples == "abcd", samples == 3) == (False, False)
    assert list(reversed(samples)) == SAMPLES[::-1]
    assert SAMPLES[2] in samples
    with pytest.raises(IndexError):
        samples[4]


def test_a_selection_of_joined_samples():
    joined = Samples.joined([SAMPLES[:2], as_samples(SAMPLES[2:]), []])
    assert joined == SAMPLES
    assert joined.where(3) == "sample d"
    chosen = Samples.joined([joined.select([3, 1, 2])])
    assert chosen == [SAMPLES[3], SAMPLES[1], SAMPLES[2]]
    assert chosen[1:].select([1]) == [SAMPLES[2]]
    assert chosen.ids == ["d", "b", "c"]
    assert sorted(chosen.images) == ["1.jpg", "2.jpg", "3.jpg"]
    assert chosen[:2].users(["1.jpg"]) == {"1.jpg": "sample d"}


def test_samples_with_the_same_images_in_the_same_order_share_a_number():
    more = [*SAMPLES, sample("e", "1.jpg"), sample("f"), sample("g", "3.jpg", "2.jpg"), sample("h", "2.jpg", "3.jpg")]
    assert as_samples(more).same_images() == [0, 1, 2, 3, 0, 4, 5, 2]
    assert as_samples(more).select([7, 5, 2]).same_images() == [0, 1, 0]
