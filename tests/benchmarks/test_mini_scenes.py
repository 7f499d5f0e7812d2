from itertools import combinations
from random import Random

import pytest

from coin_lightning.benchmarks.drawing import SIZES
from coin_lightning.benchmarks.mini_scenes import Placed, compose, pick_things
from coin_lightning.benchmarks.vocabulary import BY_NAME


def test_picked_things_have_different_names_and_few_colours():
    for seed in range(50):
        things = pick_things(Random(seed), 4, 2)
        assert len({thing.name for thing in things}) == 4
        assert sum(bool(thing.colour) for thing in things) == 2


def test_centre_of_a_box():
    assert Placed(BY_NAME["dog"], (10, 20, 30, 60)).centre == (20, 40)


@pytest.mark.assets
def test_things_do_not_touch_and_their_boxes_hold_their_ink(materials):
    for seed in range(20):
        rng = Random(seed)
        things = pick_things(rng, 4, 1)
        size = rng.choice(SIZES)
        image, placed = compose(rng, materials, things, (34, 48), size)
        assert image.size == size
        assert [spot.thing for spot in placed] == things
        for a, b in combinations([spot.box for spot in placed], 2):
            assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
        for x1, y1, x2, y2 in (spot.box for spot in placed):
            assert 0 <= x1 < x2 <= size[0]
            assert 0 <= y1 < y2 <= size[1]
            # The outline of every drawing is near black: its ink must be inside the box.
            assert min(image.crop((x1, y1, x2, y2)).convert("L").tobytes()) < 60
