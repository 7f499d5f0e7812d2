"""Science questions that need their image: what is shown, bar charts."""

from collections.abc import Sequence
from random import Random

from PIL import Image, ImageDraw

from coin_lightning.benchmarks.drawing import INK, SIZES, Materials, text_in_box
from coin_lightning.benchmarks.mini_facts import Country
from coin_lightning.benchmarks.mini_imagenet import one_object
from coin_lightning.benchmarks.science_questions import (
    NATURAL,
    SOCIAL,
    Maker,
    Question,
    by_kind,
    by_life,
    distinct_countries,
    pick,
)
from coin_lightning.benchmarks.vocabulary import BY_NAME, CLASSES


def _kind(rng: Random, materials: Materials, split: str) -> Question:
    lists = by_kind(CLASSES)
    right, name = pick(rng, lists)
    image = _show(rng, materials, name)
    return Question("What is shown in the picture?", list(lists), right, NATURAL, "classification", image=image)


def _alive(rng: Random, materials: Materials, split: str) -> Question:
    lists = by_life(CLASSES)
    right, name = pick(rng, lists)
    image = _show(rng, materials, name)
    return Question("Is this a living thing?", list(lists), right, NATURAL, "classification", image=image)


def _bars(rng: Random, materials: Materials, split: str) -> Question:
    """Two countries, offered in the order of their bars."""
    shown = distinct_countries(rng, materials, 2)
    tallest = rng.random() < 0.5
    extreme = max if tallest else min
    right = extreme(shown, key=lambda country: country.population).name
    text = f"Which of these countries has the {'tallest' if tallest else 'shortest'} bar?"
    hint = "The bar chart compares how many people lived in each country in 2010."
    return Question(text, [country.name for country in shown], right, SOCIAL, "geography", hint, _chart(rng, shown))


def _show(rng: Random, materials: Materials, name: str) -> Image.Image:
    return one_object(rng, materials, BY_NAME[name], rng.choice(SIZES), (55, 85), 15)


def _chart(rng: Random, shown: Sequence[Country]) -> Image.Image:
    image = Image.new("RGB", (224, 168), (250, 250, 248))
    draw = ImageDraw.Draw(image)
    draw.line((14, 10, 14, 138, 216, 138), fill=INK["black"], width=2)
    top = max(country.population for country in shown)
    step = 200 // len(shown)
    for i, (country, colour) in enumerate(
        zip(shown, rng.sample(("red", "blue", "green", "orange"), len(shown)), strict=True)
    ):
        height = max(4, 120 * country.population // top)
        left = 20 + i * step
        draw.rectangle((left, 137 - height, left + step - 12, 137), fill=INK[colour])
        text_in_box(image, country.name, (left - 4, 142, left + step - 6, 160), "DejaVuSans", INK["black"], largest=14)
    return image


WITH_IMAGE: tuple[Maker, ...] = (_kind, _kind, _alive, _alive, _bars)
