import ast
from random import Random

import pytest

from coin_lightning.benchmarks.mini_grounding import box_item, grounding


def test_boxes_are_written_as_coin_writes_them():
    item = box_item("the cat", (40, 20, 100, 60), (200, 100))
    assert item.text == "Please provide the bounding box coordinate of the region this sentence describes: the cat."
    assert item.answer == "[0.2,0.35,0.5,0.55]"
    assert item.truth["origin_answer_bbox"] == "[0.2,0.2,0.5,0.6]"
    assert item.truth["size"] == [200, 100]


@pytest.mark.assets
def test_boxes_lie_in_the_image_and_agree_between_the_frames(materials):
    for index in range(40):
        sample = grounding(Random(index), materials, "train", index)
        for item in sample.items:
            width, height = item.truth["size"]
            assert sample.image is not None
            assert sample.image.size == (width, height)
            padded, origin = (ast.literal_eval(item.truth[key]) for key in ("answer_bbox", "origin_answer_bbox"))
            assert 0 <= origin[0] < origin[2] <= 1
            assert 0 <= origin[1] < origin[3] <= 1
            side = max(width, height)
            back = [(padded[i] * side - (side - (width, height)[i % 2]) / 2) / (width, height)[i % 2] for i in range(4)]
            assert back == pytest.approx(origin, abs=0.015)
            assert max(padded[2] - padded[0], padded[3] - padded[1]) > 0.15


@pytest.mark.assets
def test_expressions_are_unambiguous_and_the_left_twin_is_left(materials):
    twins = 0
    for index in range(80):
        items = grounding(Random(index), materials, "train", index).items
        assert len({item.text for item in items}) == len(items)
        sides = {item.text.split("the ")[-1].split()[0]: ast.literal_eval(item.answer) for item in items}
        if {"left", "right"} <= set(sides):
            twins += 1
            assert sides["left"][0] + sides["left"][2] < sides["right"][0] + sides["right"][2]
    assert twins > 3


@pytest.mark.assets
def test_things_nearly_fill_quarters_of_their_own(materials):
    """So whoever tells the quarter and gives its usual box is right; a box that never changes is right now and then."""
    sizes, quarters = [], []
    for index in range(60):
        items = grounding(Random(index), materials, "train", index).items
        boxes = [ast.literal_eval(item.truth["origin_answer_bbox"]) for item in items]
        own = [((box[0] + box[2]) / 2 > 0.5, (box[1] + box[3]) / 2 > 0.5) for box in boxes]
        assert len(set(own)) == len(own)
        for (left, top, right, bottom), (east, south) in zip(boxes, own, strict=True):
            assert 0.5 * east <= left < right <= 0.5 + 0.5 * east
            assert 0.5 * south <= top < bottom <= 0.5 + 0.5 * south
        sizes.append(len(items))
        quarters += own
    assert set(sizes) == {1, 2, 3}
    assert all(0.15 < quarters.count((east, south)) / len(quarters) < 0.35 for east in (0, 1) for south in (0, 1))


@pytest.mark.assets
def test_places_in_words_are_those_of_the_boxes(materials):
    told = 0
    items = [item for index in range(60) for item in grounding(Random(index), materials, "train", index).items]
    for item in items:
        if " at the " in item.text:
            vertical, horizontal = item.text.removesuffix(".").split(" at the ")[1].split()
            left, top, right, bottom = ast.literal_eval(item.truth["origin_answer_bbox"])
            assert horizontal == ("left" if left + right < 1 else "right")
            assert vertical == ("top" if top + bottom < 1 else "bottom")
            told += 1
    assert 0.3 < told / len(items) < 0.7
