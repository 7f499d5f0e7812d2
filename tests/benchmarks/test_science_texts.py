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
            question = maker(Random(seed), materials)
            assert question.image is None
            assert len(set(question.choices)) == len(question.choices) >= 2


@pytest.mark.parametrize("seed", range(12))
def test_the_right_choice_is_right_and_the_only_one(materials, seed):
    known = {element.name: element for element in elements(materials.facts)}
    symbols = {element.symbol: element.name.lower() for element in known.values()}
    people = {country.name: country.population for country in countries(materials.facts)}
    regions = {country.name: country.region for country in countries(materials.facts)}

    state = science_texts._state(Random(seed), materials)
    wanted = "gas" if " gas " in state.text else "solid"
    assert [known[choice].state == wanted for choice in state.choices] == [True] + [False] * (len(state.choices) - 1)

    symbol = science_texts._symbol(Random(seed), materials)
    if symbol.text.startswith("What"):
        assert symbols[symbol.choices[0]] == symbol.text.removeprefix("What is the chemical symbol of ")[:-1]
    else:
        assert known[symbol.choices[0]].symbol == symbol.text.split()[-1][:-1]

    larger = science_texts._larger(Random(seed), materials)
    assert larger.choices[0] == max(larger.choices, key=people.__getitem__)
    region = science_texts._region(Random(seed), materials)
    assert regions[region.text.removeprefix("In which part of the world is ")[:-1]] == region.choices[0]
    alphabet = science_texts._alphabet(Random(seed), materials)
    assert alphabet.choices[0] == min(alphabet.choices)
    many = science_texts._plural(Random(seed), materials)
    assert many.choices[0] == plural(many.text.split("'")[1])
    metal = science_texts._metal(Random(seed), materials)
    name = metal.text.split()[1].capitalize()
    assert metal.choices[0] == ("a metal" if known[name].metal else "a nonmetal")
