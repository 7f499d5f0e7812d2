from collections import Counter
from random import Random

import pytest

from coin_lightning.benchmarks.layout import Entry
from coin_lightning.benchmarks.mini_scienceqa import problem, scienceqa

pytestmark = pytest.mark.assets


def test_right_letters_are_even_over_the_places_and_half_have_images(materials):
    samples = [scienceqa(Random(f"letters/{i}"), materials, "train", i) for i in range(600)]
    assert sum(sample.image is not None for sample in samples) == 300
    places: dict[int, Counter] = {}
    for sample in samples:
        truth = sample.items[0].truth
        assert truth["question"].choices[truth["place"]] == truth["question"].right
        places.setdefault(len(truth["question"].choices), Counter())[truth["place"]] += 1
    assert set(places) == {2, 3}
    for choices, counts in places.items():
        total = sum(counts.values())
        spread = 4 * (total / choices) ** 0.5  # four standard deviations of an even draw, at least
        assert all(abs(counts[place] - total / choices) < spread for place in range(choices))


def test_the_text_and_the_problem_say_the_same(materials):
    sample = scienceqa(Random(5), materials, "test", 1)
    item = sample.items[0]
    found = problem(Entry("500001", None, item))
    lines = item.text.split("\n")
    assert lines[0] == found["question"]
    assert lines[1] == f"Context: {found['hint'] or 'N/A'}"
    options = " ".join(f"({letter}) {choice}" for letter, choice in zip("ABC", found["choices"], strict=False))
    assert lines[2] == f"Options: {options}"
    assert lines[3] == "Answer with the option's letter from the given choices directly."
    assert item.answer == "ABC"[found["answer"]]
    assert found["image"] is None
    assert found["subject"] in ("natural science", "social science", "language science")
