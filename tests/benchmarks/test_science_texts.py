import re
from random import Random

import pytest

from coin_lightning.benchmarks import science_texts
from coin_lightning.benchmarks.mini_facts import countries
from coin_lightning.benchmarks.science_texts import TEXT_ONLY
from coin_lightning.benchmarks.vocabulary import BY_NAME

pytestmark = pytest.mark.assets


def test_no_maker_draws_and_choices_are_distinct(materials):
    for maker in TEXT_ONLY:
        for seed in range(10):
            question = maker(Random(seed), materials, "train")
            assert question.image is None
            assert len(set(question.choices)) == len(question.choices) >= 2
            assert question.right in question.choices


def test_every_split_asks_about_facts_of_its_own_in_every_kind_of_question(materials):
    for maker in set(TEXT_ONLY):
        texts = {
            split: {maker(Random(seed), materials, split).text for seed in range(200)}
            for split in ("train", "test", "validation")
        }
        assert not texts["train"] & texts["test"]
        assert not texts["train"] & texts["validation"]
        assert not texts["test"] & texts["validation"]


@pytest.mark.parametrize("seed", range(12))
def test_the_right_choice_is_right(materials, seed):
    kinds = {"vehicle": "a vehicle", "animal": "an animal", "food": "something to eat"}
    regions = {country.name: country.region for country in countries(materials.facts)}
    words = {"run": "verb", "sing": "verb", "tall": "adjective", "brave": "adjective", "elephant": "noun"}

    kind = science_texts._kind(Random(seed), materials, "train")
    assert kind.right == kinds[BY_NAME[thing_in(kind.text)].kind]
    alive = science_texts._alive(Random(seed), materials, "train")
    assert (alive.right == "yes") == (BY_NAME[thing_in(alive.text)].kind in ("animal", "plant"))
    region = science_texts._region(Random(seed), materials, "train")
    assert regions[region.text.removeprefix("In which part of the world is ")[:-1]] == region.right
    word = science_texts._word_class(Random(seed), materials, "train")
    assert word.right == words.get(word.text.split("'")[1], word.right)


def thing_in(text: str) -> str:
    return re.fullmatch(r".*[Ii]s (?:an? )?(.+?)(?: a living thing)?\?", text)[1]
