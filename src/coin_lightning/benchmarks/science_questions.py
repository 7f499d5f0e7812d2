"""What the science questions share: the question before its options are shuffled, and the animal kingdom in brief."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.mini_facts import Country, countries

NATURAL, SOCIAL, LANGUAGE = "natural science", "social science", "language science"
ANIMAL_GROUPS = {
    "mammal": "dog cat mouse rabbit fox bear panda tiger lion cow pig wolf zebra gorilla elephant camel giraffe whale",
    "bird": "chicken penguin duck eagle owl rooster turkey peacock parrot swan flamingo",
    "reptile": "turtle snake lizard crocodile",
    "insect": "bee butterfly ladybug ant mosquito",
    "fish": "fish shark",
}


@dataclass
class Question:
    """A multiple-choice question before its options are shuffled; ``choices[0]`` is the right one."""

    text: str
    choices: list[str]
    subject: str
    topic: str
    hint: str = ""
    image: Image.Image | None = None


Maker = Callable[[Random, Materials], Question]


def options(rng: Random, right: str, others: Sequence[str], low: int = 2, high: int = 3) -> list[str]:
    """The right option and so many others that there are ``low`` to ``high`` in all."""
    return [right, *rng.sample(others, min(len(others), rng.randint(low, high) - 1))]


def distinct_countries(rng: Random, materials: Materials, count: int) -> list[Country]:
    """Countries whose populations differ by a third or more, so that the order is plain."""
    picked: list[Country] = []
    known = countries(materials.facts)
    while len(picked) < count:
        country = rng.choice(known)
        if all(3 * min(country.population, o.population) <= 2 * max(country.population, o.population) for o in picked):
            picked.append(country)
    return picked
