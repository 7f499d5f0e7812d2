import json
import re
from random import Random

import pytest

from coin_lightning.benchmarks import mini_vqav2
from coin_lightning.benchmarks.mini_vqav2 import vqav2

pytestmark = pytest.mark.assets


@pytest.mark.parametrize("split", ["train", "test"])
def test_even_images_are_easy_vqas_of_the_same_split_with_their_published_answers(materials, split):
    published = {(q, a, i) for q, a, i in json.loads((materials.easy_vqa / split / "questions.json").read_text())}
    for index in range(0, 40, 2):
        sample = vqav2(Random(index), materials, split, index)
        assert sample.image is not None
        assert sample.image.size == (192, 192)
        for item in sample.items:
            assert (item.text.split("\n")[0], item.answer, index // 2) in published


def test_counts_are_those_of_the_composed_things(materials, monkeypatch):
    drawn: list = []
    compose = mini_vqav2.compose
    monkeypatch.setattr(
        mini_vqav2, "compose", lambda rng, m, things, *rest: drawn.append(things) or compose(rng, m, things, *rest)
    )
    for index in range(1, 60, 2):
        items = vqav2(Random(index), materials, "train", index).items
        names = [mini_vqav2.plural(thing.name) for thing in drawn.pop()]
        for item in items:
            question = item.text.split("\n")[0]
            if counted := re.fullmatch(r"How many (\w+) are there\?", question):
                assert names.count(counted[1]) == int(item.answer) > 0
            else:
                asked = question.removeprefix("Are there any ")[:-1]
                assert item.answer == ("yes" if asked in names else "no")


def test_yes_no_share(materials):
    answers = [item.answer for i in range(300) for item in vqav2(Random(i), materials, "train", i).items]
    assert 0.38 < sum(answer in ("yes", "no") for answer in answers) / len(answers) < 0.5
