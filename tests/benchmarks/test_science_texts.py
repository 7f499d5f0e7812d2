from random import Random

import pytest

from coin_lightning.benchmarks import science_texts
from coin_lightning.benchmarks.mini_facts import countries, elements
from coin_lightning.benchmarks.science_texts import TEXT_ONLY
from coin_lightning.benchmarks.vocabulary import plural

pytestmark = pytest.mark.assets


def test_no_maker_draws_and_choices_are_distinct(materials):
    for maker in TEXT_ONLY:
        for seed in range(10):
            question = maker(Random(seed), materials, "train")
            assert question.image is None
            assert len(set(question.choices)) == len(question.choices) >= 2
            assert question.right in question.choices


def test_every_split_asks_about_facts_of_its_own_in_every_kind_of_question(materials):
    """But for sentences, which are new each time."""
    for maker in set(TEXT_ONLY) - {science_texts._sentence}:
        texts = {
            split: {_asked(maker(Random(seed), materials, split)) for seed in range(200)}
            for split in ("train", "test", "validation")
        }
        assert not texts["train"] & texts["test"]
        assert not texts["train"] & texts["validation"]
        assert not texts["test"] & texts["validation"]


def _asked(question) -> str:
    """The word that a plural belongs to, else the whole question."""
    return question.text.split("'")[-2] if "plural" in question.text else question.text


@pytest.mark.parametrize("seed", range(12))
def test_the_right_choice_is_right(materials, seed):
    known = {element.name.lower(): element for element in elements(materials.facts)}
    regions = {country.name: country.region for country in countries(materials.facts)}
    groups = {"penguin": "bird", "parrot": "bird", "bee": "insect", "ant": "insect", "whale": "mammal", "cow": "mammal"}

    state = science_texts._state(Random(seed), materials, "train")
    assert state.right == f"a {known[state.text.split()[1]].state}"
    metal = science_texts._metal(Random(seed), materials, "train")
    assert metal.right == ("a metal" if known[metal.text.split()[1]].metal else "a nonmetal")
    assert metal.hint.endswith(f"is a {known[metal.text.split()[1]].state}.")
    animal = science_texts._group_of(Random(seed), materials, "train")
    assert animal.right == groups.get(animal.text.split()[-2], animal.right)
    region = science_texts._region(Random(seed), materials, "train")
    assert regions[region.text.removeprefix("In which part of the world is ")[:-1]] == region.right
    sound = science_texts._sound(Random(seed), materials, "train")
    assert (sound.text.split("'")[1][0] in "aeiou") == (sound.right == "a vowel")
    sentence = science_texts._sentence(Random(seed), materials, "train")
    ends = {"declarative": ".", "exclamatory": "!", "interrogative": "?"}
    assert sentence.hint.endswith(ends[sentence.right])
    word = science_texts._word_class(Random(seed), materials, "train")
    kinds = {"run": "verb", "sing": "verb", "tall": "adjective", "brave": "adjective", "elephant": "noun"}
    assert word.right == kinds.get(word.text.split("'")[1], word.right)
    many = science_texts._plural(Random(seed), materials, "train")
    form, name = many.text.removeprefix("Is ").split(" the plural of the word ")
    assert many.right == ("yes" if form == plural(name[1:-2]) else "no")
