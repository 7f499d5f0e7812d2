"""Science questions without an image: elements, animals, countries, words and sentences."""

from random import Random

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.mini_facts import common_elements, countries
from coin_lightning.benchmarks.mini_textvqa import WORDS
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
    of_split,
    pick,
)
from coin_lightning.benchmarks.vocabulary import COUNTABLE, THINGS, plural

_REGIONS = ("America", "Europe & Central Asia", "Sub-Saharan Africa")
_SENTENCES = {
    "declarative": ("The {a} is next to the {b}.", "I saw a {a} yesterday.", "Every {a} needs some rest."),
    "exclamatory": ("What a lovely {a} that is!", "How big the {a} has become!", "That {a} is amazing!"),
    "interrogative": ("Is the {a} next to the {b}?", "Where did you see the {a}?", "Who lost this {a}?"),
}
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


def _state(rng: Random, materials: Materials, split: str) -> Question:
    known = common_elements(materials.facts)
    choices = ("a gas", "a solid")
    by_state = {choice: [each for each in known if f"a {each.state}" == choice] for choice in choices}
    right, element = pick(rng, by_state, split)
    return Question(
        f"Is {element.name.lower()} a gas or a solid at room temperature?", choices, right, NATURAL, "chemistry"
    )


def _metal(rng: Random, materials: Materials, split: str) -> Question:
    right, element = pick(rng, by_metal(materials), split)
    hint = f"At room temperature {element.name.lower()} is a {element.state}."
    return Question(f"Is {element.name.lower()} a metal or a nonmetal?", METAL, right, NATURAL, "chemistry", hint)


def _group_of(rng: Random, materials: Materials, split: str) -> Question:
    right, name = pick(rng, ANIMAL_GROUPS, split)
    return Question(f"To which group does the {name} belong?", list(ANIMAL_GROUPS), right, NATURAL, "biology")


def _region(rng: Random, materials: Materials, split: str) -> Question:
    known = countries(materials.facts)
    by_region = {region: [each.name for each in known if each.region == region] for region in _REGIONS}
    right, name = pick(rng, by_region, split)
    return Question(f"In which part of the world is {name}?", _REGIONS, right, SOCIAL, "geography")


def _sound(rng: Random, materials: Materials, split: str) -> Question:
    right, word = pick(rng, by_sound(WORDS), split)
    return Question(f"Does the word '{word}' begin with a consonant or a vowel?", SOUND, right, LANGUAGE, "spelling")


def _sentence(rng: Random, materials: Materials, split: str) -> Question:
    right, pattern = pick(rng, _SENTENCES)
    first, second = rng.sample([thing.name for thing in COUNTABLE if thing.name[0] not in "aeiou"], 2)
    sentence = pattern.format(a=first, b=second)
    return Question("Which kind of sentence is this?", list(_SENTENCES), right, LANGUAGE, "grammar", sentence)


def _word_class(rng: Random, materials: Materials, split: str) -> Question:
    nouns = [thing.name for thing in THINGS if len(thing.name) > 4]
    lists = {"adjective": _ADJECTIVES, "noun": nouns, "verb": _VERBS}
    right, word = pick(rng, lists, split)
    return Question(f"What kind of word is '{word}'?", list(lists), right, LANGUAGE, "grammar")


def _plural(rng: Random, materials: Materials, split: str) -> Question:
    name = rng.choice(of_split([thing.name for thing in COUNTABLE], split))
    wrong = sorted({f"{name}s", f"{name}es", f"{name}'s", f"{name[:-1]}ies"} - {plural(name)})
    right, form = pick(rng, {"no": wrong, "yes": [plural(name)]})
    return Question(f"Is {form} the plural of the word '{name}'?", ("no", "yes"), right, LANGUAGE, "grammar")


TEXT_ONLY: tuple[Maker, ...] = (
    _state, _metal, _group_of, _region, _region, _sound, _sentence, _word_class, _plural,
)  # fmt: skip
