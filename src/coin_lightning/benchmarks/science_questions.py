"""What the science questions share.

Many of ScienceQA's questions choose from a closed list. Here all do, a list always stands in one order, and questions
with and without an image share lists: to tell which letter stands before the right words of a list that changes is more
than a language model of 135M parameters learns from some hundred samples, whatever it knows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from PIL import Image

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.mini_facts import Country, countries
from coin_lightning.benchmarks.vocabulary import Thing

NATURAL, SOCIAL, LANGUAGE = "natural science", "social science", "language science"

_KINDS = {"a vehicle": ("vehicle",), "an animal": ("animal",), "something to eat": ("food",)}
_ALIVE = {"no": ("vehicle", "tool", "instrument", "building"), "yes": ("animal", "plant")}


@dataclass
class Question:
    """A multiple-choice question: the choices in the order in which they are offered, and which of them is right."""

    text: str
    choices: Sequence[str]
    right: str
    subject: str
    topic: str
    hint: str = ""
    image: Image.Image | None = None


Maker = Callable[[Random, Materials, str], Question]
"""From generator, materials and split."""
Example = TypeVar("Example")


def pick(rng: Random, lists: Mapping[str, Sequence[Example]], split: str | None = None) -> tuple[str, Example]:
    """An answer, each as likely as the others, and something of which it is true, that `split` may ask about."""
    right = rng.choice(list(lists))
    return right, rng.choice(lists[right] if split is None else of_split(lists[right], split))


def of_split(examples: Sequence[Example], split: str) -> list[Example]:
    """Two fifths of the examples for the test, one for validation, so that training teaches none of theirs."""
    places = {"test": (0, 3), "validation": (1,)}.get(split, (2, 4))
    return [example for at, example in enumerate(examples) if at % 5 in places]


def by_kind(things: Sequence[Thing]) -> dict[str, list[str]]:
    """Names of vehicles, animals and food."""
    return {answer: [thing.name for thing in things if thing.kind in kinds] for answer, kinds in _KINDS.items()}


def by_life(things: Sequence[Thing]) -> dict[str, list[str]]:
    """Names of things by whether they live."""
    return {answer: [thing.name for thing in things if thing.kind in kinds] for answer, kinds in _ALIVE.items()}


def distinct_countries(rng: Random, materials: Materials, count: int) -> list[Country]:
    """Countries whose populations differ by a third or more, so that the order is plain."""
    picked: list[Country] = []
    known = countries(materials.facts)
    while len(picked) < count:
        country = rng.choice(known)
        if all(3 * min(country.population, o.population) <= 2 * max(country.population, o.population) for o in picked):
            picked.append(country)
    return picked
