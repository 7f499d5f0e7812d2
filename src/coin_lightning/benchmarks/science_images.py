"""Science questions that need their image: what is shown, element cards, bar charts."""

from collections.abc import Sequence
from random import Random

from PIL import Image, ImageDraw

from coin_lightning.benchmarks.drawing import INK, PASTELS, SIZES, Materials, text_in_box
from coin_lightning.benchmarks.mini_facts import Country, Element, common_elements
from coin_lightning.benchmarks.mini_imagenet import one_object
from coin_lightning.benchmarks.science_questions import (
    ANIMAL_GROUPS,
    LANGUAGE,
    NATURAL,
    SOCIAL,
    Maker,
    Question,
    distinct_countries,
    options,
)
from coin_lightning.benchmarks.vocabulary import BY_NAME, CLASSES, with_article

_KIND_PHRASES = {
    "animal": "an animal",
    "food": "something to eat",
    "plant": "a plant",
    "vehicle": "a vehicle",
    "clothing": "something to wear",
    "tool": "a tool",
    "instrument": "a musical instrument",
    "building": "a building",
}
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


def _kind(rng: Random, materials: Materials) -> Question:
    thing = rng.choice([thing for thing in CLASSES if thing.kind in _KIND_PHRASES])
    others = [phrase for kind, phrase in _KIND_PHRASES.items() if kind != thing.kind]
    choices = options(rng, _KIND_PHRASES[thing.kind], others)
    return Question(
        "Which of these is shown in the picture?",
        choices,
        NATURAL,
        "classification",
        image=_show(rng, materials, thing.name),
    )


def _animal_class(rng: Random, materials: Materials) -> Question:
    kind = rng.choice(list(ANIMAL_GROUPS))
    name = rng.choice(ANIMAL_GROUPS[kind].split())
    others = [other for other in ANIMAL_GROUPS if other != kind]
    choices = options(rng, kind, others)
    return Question(
        "To which group does this animal belong?", choices, NATURAL, "biology", image=_show(rng, materials, name)
    )


def _food_source(rng: Random, materials: Materials) -> Question:
    from_plant = rng.random() < 0.5
    name = rng.choice(_PLANT_FOODS if from_plant else _ANIMAL_FOODS)
    choices = ["from a plant", "from an animal"] if from_plant else ["from an animal", "from a plant"]
    return Question("Where does this food come from?", choices, NATURAL, "biology", image=_show(rng, materials, name))


def _element_card(rng: Random, materials: Materials) -> Question:
    known = common_elements(materials.facts)
    element = rng.choice(known)
    image = _card(rng, element)
    others = [other for other in known if other is not element]
    if rng.random() < 0.5:
        choices = options(rng, element.name, [other.name for other in others])
        return Question("Which element does the card show?", choices, NATURAL, "chemistry", image=image)
    choices = options(rng, str(element.number), [str(other.number) for other in others])
    return Question("What is the atomic number of the element on the card?", choices, NATURAL, "chemistry", image=image)


def _bars(rng: Random, materials: Materials) -> Question:
    shown = distinct_countries(rng, materials, rng.randint(2, 3))
    tallest = rng.random() < 0.5
    pick = max if tallest else min
    right = pick(shown, key=lambda country: country.population).name
    text = f"Which of these countries has the {'tallest' if tallest else 'shortest'} bar?"
    choices = [right, *[country.name for country in shown if country.name != right]]
    hint = "The bar chart compares how many people lived in each country in 2010."
    return Question(text, choices, SOCIAL, "geography", hint, _chart(rng, shown))


def _first_letter(rng: Random, materials: Materials) -> Question:
    thing = rng.choice(CLASSES)
    letter = thing.name[0].upper()
    others = [chr(65 + i) for i in range(26) if chr(65 + i) != letter]
    text = "With which letter does the name of this thing begin?"
    return Question(
        text,
        options(rng, letter, others),
        LANGUAGE,
        "spelling",
        f"The thing is {with_article(thing.name)}.",
        _show(rng, materials, thing.name),
    )


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


WITH_IMAGE: tuple[Maker, ...] = (_kind, _kind, _animal_class, _food_source, _element_card, _bars, _first_letter)
