"""Science questions without an image: things, countries, words."""

from random import Random

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.mini_facts import countries
from coin_lightning.benchmarks.science_questions import (
    LANGUAGE,
    NATURAL,
    SOCIAL,
    Maker,
    Question,
    by_kind,
    by_life,
    pick,
)
from coin_lightning.benchmarks.vocabulary import THINGS, with_article

_REGIONS = ("America", "Europe & Central Asia", "Sub-Saharan Africa")
_VERBS = ("run", "jump", "sing", "write", "carry", "build", "drink", "throw", "climb", "listen", "laugh", "borrow")
_ADJECTIVES = (
    "happy",
    "tall",
    "quiet",
    "bright",
    "heavy",
    "gentle",
    "ancient",
    "brave",
    "noisy",
    "clever",
    "smooth",
    "empty",
)


def _kind(rng: Random, materials: Materials, split: str) -> Question:
    lists = by_kind(THINGS)
    right, name = pick(rng, lists, split)
    text = rng.choice(("What is {}?", "Which of these is {}?")).format(with_article(name))
    return Question(text, list(lists), right, NATURAL, "classification")


def _alive(rng: Random, materials: Materials, split: str) -> Question:
    lists = by_life(THINGS)
    right, name = pick(rng, lists, split)
    return Question(f"Is {with_article(name)} a living thing?", list(lists), right, NATURAL, "classification")


def _region(rng: Random, materials: Materials, split: str) -> Question:
    known = countries(materials.facts)
    by_region = {region: [each.name for each in known if each.region == region] for region in _REGIONS}
    right, name = pick(rng, by_region, split)
    return Question(f"In which part of the world is {name}?", _REGIONS, right, SOCIAL, "geography")


def _word_class(rng: Random, materials: Materials, split: str) -> Question:
    nouns = [thing.name for thing in THINGS if len(thing.name) > 4]
    lists = {"adjective": _ADJECTIVES, "noun": nouns, "verb": _VERBS}
    right, word = pick(rng, lists, split)
    return Question(f"What kind of word is '{word}'?", list(lists), right, LANGUAGE, "grammar")


TEXT_ONLY: tuple[Maker, ...] = (_kind, _kind, _alive, _alive, _region, _word_class)
