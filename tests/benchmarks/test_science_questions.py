from itertools import combinations
from random import Random

import pytest

from coin_lightning.benchmarks.science_questions import by_kind, by_life, distinct_countries, of_split, pick
from coin_lightning.benchmarks.vocabulary import BY_NAME, CLASSES, THINGS


def test_answers_are_even_whatever_the_length_of_their_lists():
    drawn = [pick(Random(seed), {"few": ["a"], "many": list("bcdefgh")}) for seed in range(400)]
    assert 160 < sum(right == "few" for right, _ in drawn) < 240
    assert all((right == "few") == (example == "a") for right, example in drawn)
    assert {example for _, example in drawn} == set("abcdefgh")


def test_no_split_asks_about_what_another_one_asks_about():
    shares = [of_split(range(11), split) for split in ("train", "test", "validation")]
    assert shares == [[2, 4, 7, 9], [0, 3, 5, 8, 10], [1, 6]]
    asked = {pick(Random(seed), {"yes": range(11)}, "test")[1] for seed in range(100)}
    assert asked == {0, 3, 5, 8, 10}


def test_lists_agree_with_what_things_are():
    assert by_kind(THINGS)["a vehicle"][0] == next(thing.name for thing in THINGS if thing.kind == "vehicle")
    kinds = {"a vehicle": "vehicle", "an animal": "animal", "something to eat": "food"}
    for answer, names in by_kind(THINGS).items():
        assert {BY_NAME[name].kind for name in names} == {kinds[answer]}
    assert {"dog", "tree"} <= set(by_life(CLASSES)["yes"])
    assert {"car", "hammer"} <= set(by_life(CLASSES)["no"])
    assert not {"pizza", "apple"} & {name for names in by_life(CLASSES).values() for name in names}


@pytest.mark.assets
def test_populations_to_compare_differ_by_a_third(materials):
    for seed in range(20):
        shown = distinct_countries(Random(seed), materials, 4)
        for a, b in combinations([country.population for country in shown], 2):
            assert max(a, b) >= 1.5 * min(a, b)
