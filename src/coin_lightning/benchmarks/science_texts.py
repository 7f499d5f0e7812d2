"""Science questions without an image: elements, animals, countries, words and sentences."""

from collections.abc import Sequence
from random import Random

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.mini_facts import common_elements, countries
from coin_lightning.benchmarks.mini_textvqa import WORDS
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
from coin_lightning.benchmarks.vocabulary import COUNTABLE, THINGS, plural

_ANIMAL_CLASS = {name: kind for kind, names in ANIMAL_GROUPS.items() for name in names.split()}
_SENTENCES = {
    "declarative": ("The {a} is next to the {b}.", "I saw a {a} yesterday.", "Every {a} needs some rest."),
    "interrogative": ("Is the {a} next to the {b}?", "Where did you see the {a}?", "Who lost this {a}?"),
    "imperative": ("Please look after the {a}.", "Put the {a} beside the {b}.", "Do not touch the {a}."),
    "exclamatory": ("What a lovely {a} that is!", "How big the {a} has become!", "That {a} is amazing!"),
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


def _symbol(rng: Random, materials: Materials) -> Question:
    known = common_elements(materials.facts)
    element = rng.choice(known)
    if rng.random() < 0.5:
        others = [other.symbol for other in known if other is not element]
        return Question(
            f"What is the chemical symbol of {element.name.lower()}?",
            options(rng, element.symbol, others),
            NATURAL,
            "chemistry",
        )
    others = [other.name for other in known if other is not element]
    text = f"Which element has the chemical symbol {element.symbol}?"
    return Question(text, options(rng, element.name, others), NATURAL, "chemistry")


def _state(rng: Random, materials: Materials) -> Question:
    known = common_elements(materials.facts)
    state = rng.choice(("gas", "solid"))
    right = rng.choice([element for element in known if element.state == state])
    others = [element.name for element in known if element.state != state]
    text = f"Which of these elements is a {state} at room temperature?"
    return Question(text, options(rng, right.name, others), NATURAL, "chemistry")


def _metal(rng: Random, materials: Materials) -> Question:
    element = rng.choice([element for element in common_elements(materials.facts) if element.metal is not None])
    choices = ["a metal", "a nonmetal"] if element.metal else ["a nonmetal", "a metal"]
    hint = f"At room temperature {element.name.lower()} is a {element.state}."
    return Question(f"Is {element.name.lower()} a metal or a nonmetal?", choices, NATURAL, "chemistry", hint)


def _group_of(rng: Random, materials: Materials) -> Question:
    name = rng.choice(list(_ANIMAL_CLASS))
    kind = _ANIMAL_CLASS[name]
    others = [other for other in _ANIMAL_CLASS if _ANIMAL_CLASS[other] != kind]
    return Question(
        f"Which of these animals is a {kind}?".replace("a insect", "an insect"),
        options(rng, name, others),
        NATURAL,
        "biology",
    )


def _region(rng: Random, materials: Materials) -> Question:
    known = countries(materials.facts)
    regions = sorted({country.region for country in known})
    region = rng.choice(regions)
    country = rng.choice([country for country in known if country.region == region])
    others = [other for other in regions if other != region]
    return Question(f"In which part of the world is {country.name}?", options(rng, region, others), SOCIAL, "geography")


def _larger(rng: Random, materials: Materials) -> Question:
    shown = distinct_countries(rng, materials, rng.randint(2, 3))
    right = max(shown, key=lambda country: country.population).name
    facts = [f"{country.name} had {max(1, round(country.population / 1_000_000))} million people" for country in shown]
    hint = f"In 2010, {', '.join(facts)}." if rng.random() < 0.5 else ""
    choices = [right, *[country.name for country in shown if country.name != right]]
    return Question("Which of these countries had the most people in 2010?", choices, SOCIAL, "geography", hint)


def _alphabet(rng: Random, materials: Materials) -> Question:
    count = rng.randint(2, 3)
    words: list[str] = []
    while len(words) < count:
        word = rng.choice(WORDS)
        if word[0] not in {other[0] for other in words}:
            words.append(word)
    words.sort()
    return Question("Which word comes first in alphabetical order?", words, LANGUAGE, "reference skills")


def _sentence(rng: Random, materials: Materials) -> Question:
    kind = rng.choice(list(_SENTENCES))
    first, second = rng.sample([thing.name for thing in COUNTABLE if thing.name[0] not in "aeiou"], 2)
    sentence = rng.choice(_SENTENCES[kind]).format(a=first, b=second)
    others = [other for other in _SENTENCES if other != kind]
    return Question("Which kind of sentence is this?", options(rng, kind, others), LANGUAGE, "grammar", sentence)


def _word_class(rng: Random, materials: Materials) -> Question:
    nouns = [thing.name for thing in THINGS if len(thing.name) > 4]
    lists: dict[str, Sequence[str]] = {"noun": nouns, "verb": _VERBS, "adjective": _ADJECTIVES}
    kind = rng.choice(list(lists))
    others = [word for other, words in lists.items() if other != kind for word in rng.sample(words, 4)]
    article = "an" if kind == "adjective" else "a"
    return Question(
        f"Which of these words is {article} {kind}?",
        options(rng, rng.choice(lists[kind]), others),
        LANGUAGE,
        "grammar",
    )


def _plural(rng: Random, materials: Materials) -> Question:
    name = rng.choice(COUNTABLE).name
    wrong = sorted({f"{name}s", f"{name}es", f"{name}'s", f"{name[:-1]}ies"} - {plural(name)})
    return Question(f"What is the plural of the word '{name}'?", options(rng, plural(name), wrong), LANGUAGE, "grammar")


TEXT_ONLY: tuple[Maker, ...] = (_symbol, _state, _metal, _group_of, _region, _region, _larger, _alphabet, _sentence)
TEXT_ONLY += (_word_class, _plural)
