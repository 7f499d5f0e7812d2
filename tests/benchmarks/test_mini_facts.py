import pytest

from coin_lightning.benchmarks.mini_facts import countries, elements

pytestmark = pytest.mark.assets


def test_well_known_elements(materials):
    known = {element.name: element for element in elements(materials.facts)}
    assert len(known) == 86
    assert (known["Iron"].symbol, known["Iron"].number, known["Iron"].state, known["Iron"].metal) == (
        "Fe",
        26,
        "solid",
        True,
    )
    assert (known["Oxygen"].state, known["Oxygen"].metal) == ("gas", False)
    assert known["Mercury"].state == "liquid"
    assert known["Silicon"].metal is None


def test_well_known_countries(materials):
    known = {country.name: country for country in countries(materials.facts)}
    assert known["China"].population > known["India"].population > known["United States"].population > 300_000_000
    assert known["Kenya"].region == "Sub-Saharan Africa"
    assert known["France"].region == "Europe & Central Asia"
    assert list(known) == sorted(known)
