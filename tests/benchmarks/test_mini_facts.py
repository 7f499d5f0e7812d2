import pytest

from coin_lightning.benchmarks.mini_facts import countries

pytestmark = pytest.mark.assets


def test_well_known_countries(materials):
    known = {country.name: country for country in countries(materials.facts)}
    assert known["China"].population > known["India"].population > known["United States"].population > 300_000_000
    assert known["Kenya"].region == "Sub-Saharan Africa"
    assert known["France"].region == "Europe & Central Asia"
    assert list(known) == sorted(known)
