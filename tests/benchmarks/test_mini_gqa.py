import re
from random import Random

import pytest

from coin_lightning.benchmarks import mini_gqa
from coin_lightning.benchmarks.layout import Entry
from coin_lightning.benchmarks.mini_gqa import gqa, gqa_annotations
from coin_lightning.benchmarks.mini_scenes import Placed
from coin_lightning.benchmarks.vocabulary import BY_NAME, COLOURED

HEART = next(thing for thing in COLOURED if thing.phrase == "red heart")
LEFT_DOG = [Placed(BY_NAME["dog"], (0, 50, 40, 90)), Placed(HEART, (100, 52, 140, 92))]


def question(item) -> str:
    return item.text.split("\n")[0]


@pytest.mark.parametrize("seed", range(20))
def test_answers_about_a_hand_made_scene(seed):
    rng = Random(seed)
    asked = [
        kind(rng, LEFT_DOG)
        for kind in (mini_gqa._verify, mini_gqa._choose, mini_gqa._query, mini_gqa._colour, mini_gqa._exist)
    ]
    truth = {
        "Is the dog to the left of the heart?": "yes",
        "Is the dog to the right of the heart?": "no",
        "Is the heart to the left of the dog?": "no",
        "Is the heart to the right of the dog?": "yes",
        "Is the dog to the left or to the right of the heart?": "left",
        "Is the heart to the left or to the right of the dog?": "right",
        "What is to the left of the heart?": "dog",
        "What is to the right of the dog?": "heart",
        "What color is the heart?": "red",
        "Is the heart red?": "yes",
        "Is there a dog in the picture?": "yes",
        "Is there a heart in the picture?": "yes",
    }
    for item in asked:
        expected = truth.get(question(item))
        assert item.answer == (expected or "no"), question(item)
        if expected is None:  # another colour, or a thing that is not there
            assert re.match(r"Is the heart \w+\?|Is there an? \w+ in the picture\?", question(item))


def test_things_one_above_the_other_are_not_asked_for_left_or_right():
    above = [Placed(BY_NAME["dog"], (50, 0, 90, 40)), Placed(HEART, (52, 100, 92, 140))]
    for seed in range(10):
        assert mini_gqa._choose(Random(seed), above) is None
        item = mini_gqa._query(Random(seed), above)
        assert item is not None
        assert (question(item), item.answer) in {
            ("What is above the heart?", "dog"),
            ("What is below the dog?", "heart"),
        }


def test_annotations_have_gqas_fields():
    item = mini_gqa._exist(Random(1), LEFT_DOG)
    annotation = gqa_annotations([Entry("5000000", "./GQA/images/500000.jpg", item)])["5000000"]
    assert annotation["imageId"] == "500000"
    assert annotation["question"] == question(item)
    assert annotation["answer"] == item.answer
    assert annotation["isBalanced"] is True
    assert annotation["types"] == {"structural": "verify", "semantic": "obj", "detailed": "verifyObj"}


@pytest.mark.assets
def test_yes_and_no_are_balanced_and_not_all_there_is(materials):
    answers = [item.answer for i in range(250) for item in gqa(Random(i), materials, "train", i).items]
    yes, no = answers.count("yes"), answers.count("no")
    assert 0.85 < yes / no < 1.18
    assert 0.4 < (yes + no) / len(answers) < 0.6
