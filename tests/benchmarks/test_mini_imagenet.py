from random import Random

import pytest

from coin_lightning.benchmarks.drawing import SIZES
from coin_lightning.benchmarks.mini_imagenet import imagenet, one_object
from coin_lightning.benchmarks.vocabulary import BY_NAME, CLASSES

pytestmark = pytest.mark.assets


def test_classes_take_turns(materials):
    answers = [imagenet(Random(i), materials, "train", i).items[0].answer for i in range(len(CLASSES))]
    assert answers == [thing.name.capitalize() for thing in CLASSES]
    item = imagenet(Random(0), materials, "train", 0).items[0]
    assert item.text == "What is the object in the image?\nAnswer the question using a single word or phrase."


def test_an_index_gives_another_image_of_the_class_each_time(materials):
    first, again = (imagenet(Random(i), materials, "train", 0).image for i in (1, 2))
    assert first is not None
    assert again is not None
    assert first.tobytes() != again.tobytes()


def test_the_object_changes_its_image(materials):
    # The same draws with another object differ: the object is in the image, on the same background.
    size = SIZES[0]
    cat, dog = (one_object(Random(3), materials, BY_NAME[name], size, (60, 60), 10) for name in ("cat", "dog"))
    differing = sum(a != b for a, b in zip(cat.convert("L").tobytes(), dog.convert("L").tobytes(), strict=True))
    assert 0.02 < differing / (size[0] * size[1]) < 0.6
