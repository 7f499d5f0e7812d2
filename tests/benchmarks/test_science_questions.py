from itertools import combinations
from random import Random

import pytest

from coin_lightning.benchmarks.science_questions import ANIMAL_GROUPS, distinct_countries, options
from coin_lightning.benchmarks.vocabulary import BY_NAME


def test_options_keep_the_right_one_first_and_respect_the_limits():
    for seed in range(30):
        found = options(Random(seed), "right", ["a", "b", "c", "d"], 3, 5)
        assert found[0] == "right"
        assert 3 <= len(found) == len(set(found)) <= 5
    assert len(options(Random(0), "right", ["a"], 4, 4)) == 2


def test_every_animal_of_the_groups_can_be_drawn():
    names = [name for listed in ANIMAL_GROUPS.values() for name in listed.split()]
    assert len(names) == len(set(names))
    assert {BY_NAME[name].kind for name in names} == {"animal"}


@pytest.mark.assets
def test_populations_to_compare_differ_by_a_third(materials):
    for seed in range(20):
        shown = distinct_countries(Random(seed), materials, 4)
        for a, b in combinations([country.population for country in shown], 2):
            assert max(a, b) >= 1.5 * min(a, b)
