"""Science questions that need their image: what is shown, element cards, bar charts."""

from collections.abc import Sequence
from random import Random

from PIL import Image, ImageDraw

from coin_lightning.benchmarks.drawing import INK, PASTELS, SIZES, Materials, text_in_box
from coin_lightning.benchmarks.mini_facts import Country, Element
from coin_lightning.benchmarks.mini_imagenet import one_object
from coin_lightning.benchmarks.science_questions import (
    ANIMAL_GROUPS,
    LANGUAGE,
    METAL,
    NATURAL,
    SOCIAL,
    SOUND,
    Maker,
    Question,
    by_metal,
    by_sound,
    distinct_countries,
    pick,
)
from coin_lightning.benchmarks.vocabulary import BY_NAME, CLASSES, THINGS, with_article

_KINDS = {"a vehicle": "vehicle", "an animal": "animal", "something to eat": "food"}
_ALIVE = ("animal", "plant")
_MADE = ("vehicle", "tool", "instrument", "building")
_PLANT_FOODS = (
    "apple",
    "pear",
    "orange",
    "lemon",
    "banana",
    "strawberry",
    "tomato",
    "carrot",
    "potato",
    "onion",
    "cucumber",
    "broccoli",
)
_ANIMAL_FOODS = ("egg", "milk", "cheese", "steak", "bacon", "honey")


def _kind(rng: Random, materials: Materials, split: str) -> Question:
    lists = {phrase: [thing.name for thing in CLASSES if thing.kind == kind] for phrase, kind in _KINDS.items()}
    right, name = pick(rng, lists)
    image = _show(rng, materials, name)
    return Question("What is shown in the picture?", list(lists), right, NATURAL, "classification", image=image)


def _alive(rng: Random, materials: Materials, split: str) -> Question:
    lists = {
        answer: [thing.name for thing in CLASSES if thing.kind in kinds]
        for answer, kinds in (("no", _MADE), ("yes", _ALIVE))
    }
    right, name = pick(rng, lists)
    image = _show(rng, materials, name)
    return Question("Is this a living thing?", list(lists), right, NATURAL, "classification", image=image)


def _animal_class(rng: Random, materials: Materials, split: str) -> Question:
    right, name = pick(rng, ANIMAL_GROUPS)
    image = _show(rng, materials, name)
    return Question(
        "To which group does this animal belong?", list(ANIMAL_GROUPS), right, NATURAL, "biology", image=image
    )


def _food_source(rng: Random, materials: Materials, split: str) -> Question:
    lists = {"from a plant": _PLANT_FOODS, "from an animal": _ANIMAL_FOODS}
    right, name = pick(rng, lists)
    image = _show(rng, materials, name)
    return Question("Where does this food come from?", list(lists), right, NATURAL, "biology", image=image)


def _element_card(rng: Random, materials: Materials, split: str) -> Question:
    right, element = pick(rng, by_metal(materials))
    image = _card(rng, element)
    return Question(
        "Is the element on the card a metal or a nonmetal?", METAL, right, NATURAL, "chemistry", image=image
    )


def _bars(rng: Random, materials: Materials, split: str) -> Question:
    """Two countries, offered in the order of their bars."""
    shown = distinct_countries(rng, materials, 2)
    tallest = rng.random() < 0.5
    extreme = max if tallest else min
    right = extreme(shown, key=lambda country: country.population).name
    text = f"Which of these countries has the {'tallest' if tallest else 'shortest'} bar?"
    hint = "The bar chart compares how many people lived in each country in 2010."
    return Question(text, [country.name for country in shown], right, SOCIAL, "geography", hint, _chart(rng, shown))


def _sound(rng: Random, materials: Materials, split: str) -> Question:
    right, name = pick(rng, by_sound([thing.name for thing in THINGS]))
    text = "Does the name of this thing begin with a consonant or a vowel?"
    hint = f"The thing is {with_article(name)}."
    return Question(text, SOUND, right, LANGUAGE, "spelling", hint, _show(rng, materials, name))


def _show(rng: Random, materials: Materials, name: str) -> Image.Image:
    return one_object(rng, materials, BY_NAME[name], rng.choice(SIZES), (55, 85), 15)


def _card(rng: Random, element: Element) -> Image.Image:
    size = rng.choice(((168, 224), (192, 224), (224, 224)))
    image = Image.new("RGB", size, rng.choice(PASTELS))
    ink = rng.choice((INK["black"], INK["blue"], INK["red"]))
    ImageDraw.Draw(image).rectangle((12, 12, size[0] - 13, size[1] - 13), outline=ink, width=4)
    text_in_box(image, str(element.number), (24, 22, 90, 52), "DejaVuSans", ink, largest=28)
    text_in_box(image, element.symbol, (30, 60, size[0] - 30, 160), "DejaVuSans-Bold", ink, largest=90)
    text_in_box(image, element.name, (24, 170, size[0] - 24, 204), "DejaVuSans", ink, largest=28)
    return image


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


WITH_IMAGE: tuple[Maker, ...] = (_kind, _kind, _alive, _animal_class, _food_source, _element_card, _bars, _sound)
