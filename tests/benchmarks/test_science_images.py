from random import Random

import pytest

from coin_lightning.benchmarks import science_images
from coin_lightning.benchmarks.mini_facts import countries
from coin_lightning.benchmarks.science_images import WITH_IMAGE
from coin_lightning.benchmarks.vocabulary import BY_NAME

pytestmark = pytest.mark.assets


def test_every_maker_draws_and_offers_distinct_choices(materials):
    for maker in WITH_IMAGE:
        for seed in range(8):
            question = maker(Random(seed), materials, "train")
            assert question.image is not None
            assert len(set(question.choices)) == len(question.choices) >= 2
            assert question.right in question.choices


def test_bar_chart_questions_name_the_extreme_country_and_offer_them_as_their_bars_stand(materials, monkeypatch):
    population = {country.name: country.population for country in countries(materials.facts)}
    drawn = []
    monkeypatch.setattr(science_images, "_chart", lambda rng, shown: drawn.append([each.name for each in shown]))
    for seed in range(12):
        question = science_images._bars(Random(seed), materials, "train")
        extreme = max if "tallest" in question.text else min
        assert question.right == extreme(question.choices, key=population.__getitem__)
        assert question.choices == drawn[-1]


def test_bars_are_as_tall_as_the_populations(materials):
    shown = sorted(countries(materials.facts), key=lambda country: country.population)[-3:]
    chart = science_images._chart(Random(0), shown)
    heights = []
    for i in range(3):
        column = [chart.getpixel((20 + i * 66 + 5, y)) for y in range(10, 138)]
        heights.append(sum(pixel != (250, 250, 248) for pixel in column))
    expected = [120 * country.population // shown[-1].population for country in shown]
    assert heights == pytest.approx(expected, abs=2)


def test_what_lives_and_what_kind_it_is(materials, monkeypatch):
    shown = []
    monkeypatch.setattr(science_images, "_show", lambda rng, materials, name: shown.append(name))
    phrases = {"vehicle": "a vehicle", "animal": "an animal", "food": "something to eat"}
    for seed in range(30):
        assert science_images._kind(Random(seed), materials, "train").right == phrases[BY_NAME[shown[-1]].kind]
        alive = science_images._alive(Random(seed), materials, "train")
        assert alive.right == ("yes" if BY_NAME[shown[-1]].kind in ("animal", "plant") else "no")
