"""What the science questions share.

Many of ScienceQA's questions choose from a closed list (a metal or a nonmetal; bird, insect or mammal). Here all do,
and a list always stands in one order: to tell which letter stands before the right words of a list that changes is more
than a language model of 135M parameters learns from some hundred samples, whatever it knows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from PIL import Image

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.mini_facts import Country, Element, common_elements, countries

NATURAL, SOCIAL, LANGUAGE = "natural science", "social science", "language science"
METAL = ("a metal", "a nonmetal")
SOUND = ("a consonant", "a vowel")
ANIMAL_GROUPS = {
    kind: names.split()
    for kind, names in {
        "bird": "chicken penguin duck eagle owl rooster turkey peacock parrot swan flamingo",
        "insect": "bee butterfly ladybug ant mosquito",
        "mammal": "dog cat mouse rabbit fox bear panda tiger lion cow pig wolf zebra elephant camel giraffe whale",
    }.items()
}


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
    """A fifth of the examples for the test, a fifth for validation, so that training teaches none of theirs."""
    places = {"test": (0,), "validation": (1,)}.get(split, (2, 3, 4))
    return [example for at, example in enumerate(examples) if at % 5 in places]


def by_metal(materials: Materials) -> dict[str, list[Element]]:
    """The common elements by what `METAL` says of them."""
    known = common_elements(materials.facts)
    return {METAL[0]: [each for each in known if each.metal], METAL[1]: [each for each in known if each.metal is False]}


def by_sound(words: Sequence[str]) -> dict[str, list[str]]:
    """Words by what `SOUND` says of their first letters."""
    vowels = [word for word in words if word[0] in "aeiou"]
    return {SOUND[0]: [word for word in words if word not in vowels], SOUND[1]: vowels}


def distinct_countries(rng: Random, materials: Materials, count: int) -> list[Country]:
    """Countries whose populations differ by a third or more, so that the order is plain."""
    picked: list[Country] = []
    known = countries(materials.facts)
    while len(picked) < count:
        country = rng.choice(known)
        if all(3 * min(country.population, o.population) <= 2 * max(country.population, o.population) for o in picked):
            picked.append(country)
    return picked
