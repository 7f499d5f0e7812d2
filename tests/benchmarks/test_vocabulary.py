import pytest

from coin_lightning.benchmarks.vocabulary import (
    BY_NAME,
    CLASSES,
    COLOURED,
    COLOURS,
    COUNTABLE,
    THINGS,
    plural,
    with_article,
)


def test_names_and_characters_are_unique():
    assert len({thing.name for thing in THINGS}) == len(THINGS) > 250
    assert len({thing.char for thing in (*THINGS, *COLOURED)}) == len(THINGS) + len(COLOURED)
    assert len(set(CLASSES)) == len(CLASSES) >= 60
    assert {thing.colour for thing in COLOURED} == set(COLOURS)


@pytest.mark.parametrize(
    ("one", "many"),
    [("dog", "dogs"), ("mouse", "mice"), ("fox", "foxes"), ("butterfly", "butterflies"), ("key", "keys"),
     ("wolf", "wolves"), ("church", "churches"), ("tomato", "tomatoes"), ("sheep", "sheep"), ("bus", "buses")],
)  # fmt: skip
def test_plurals(one, many):
    assert plural(one) == many


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("dog", "a dog"), ("apple", "an apple"), ("orange heart", "an orange heart"), ("unicorn", "a unicorn"),
     ("glasses", "glasses"), ("bread", "bread"), ("umbrella", "an umbrella"), ("Animation", "an Animation")],
)  # fmt: skip
def test_articles(phrase, expected):
    assert with_article(phrase) == expected


def test_things_without_a_singular_are_not_counted():
    assert not {"scissors", "bread", "jeans"} & {thing.name for thing in COUNTABLE}
    assert BY_NAME["dog"] in COUNTABLE
    assert next(thing.phrase for thing in COLOURED if thing.char == "📕") == "red book"
