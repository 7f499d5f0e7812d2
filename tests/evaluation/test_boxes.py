"""Box reading in both variants, and intersection over union."""

import random

import numpy as np
import pytest

from coin_lightning.evaluation.boxes import box_iou, clip_to_frame, parse_box, reference_box, reference_iou

QUARTERS = (0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(
    "text",
    [
        "[0.1,0.2,0.3,0.4]",
        "0.1 0.2 0.3 0.4",
        "(.1, .2), (.3, .4)",
        "<box>0.1;0.2;0.3;0.4</box>",
        "x1=0.1 y1=0.2 x2=0.3 y2=0.4",
        "From (0.1, 0.2) to (0.3, 0.4).",
        "1e-1, 2E-1, 3e-1, 4e-1",
        "+0.1,+0.2,+0.3,+0.4",
        "0.1-0.2-0.3-0.4",
        "[0.1,0.2,0.3,0.4]...",
        "[0.1,\n 0.2,\n 0.3,\n 0.4]",
        "\uff3b\uff10.1\uff0c0.2\uff0c0.3\uff0c0.4\uff3d",
    ],
)
def test_four_numbers_in_any_dress(text):
    assert parse_box(text) == QUARTERS


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[0,0,1,1]", (0, 0, 1, 1)),
        ("[-0.5, \u22121, 2, 3]", (-0.5, -1, 2, 3)),
        ("[12, 7, 330, 240]", (12, 7, 330, 240)),
        ("[0.9,0.9,0.95,1.]", (0.9, 0.9, 0.95, 1.0)),
    ],
)
def test_other_numbers(text, box):
    assert parse_box(text) == box


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a dog",
        "[0.1,0.2,0.3]",
        "1,2,3,4,5",
        "0.1.2,0.3,0.4,0.5",
        "x1 y1 x2 y2",
        "1px,2,3,4",
        "....",
        "1e,2,3,4",
    ],
)
def test_anything_but_four_numbers_is_no_box(text):
    assert parse_box(text) is None


@pytest.mark.parametrize(
    "text", ["." * 200_000, "1" * 200_000, "1." * 100_000, "[" * 200_000, "0.1," * 50_000, "9e9" * 70_000]
)
def test_texts_without_end_are_read_in_one_go(text):
    assert parse_box(text) is None  # would take minutes if any part were tried twice
    assert reference_box(text) is None


def test_every_two_decimal_box_is_read_back():
    rng = random.Random(0)
    for _ in range(500):
        box = tuple(round(rng.random(), 2) for _ in range(4))
        assert parse_box("[" + ",".join(map(str, box)) + "]") == box


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[0.12,0.34,0.56,0.78]", (0.12, 0.34, 0.56, 0.7)),  # the last digit is lost
        ("[0.1,0.2,0.3,0.9]", (0.1, 0.2, 0.3, 0.0)),  # "0." is 0
        ("[0,0.2,0.3,0.95]", None),  # nothing is left of the first number
        ("(0.1,0.2,0.3,0.4)", QUARTERS),  # round brackets are what the cut takes
        ("[0.1,0.2,0.3]", None),
        ("", None),
        ("dog", None),
    ],
)
def test_reference_box_cuts_both_ends(text, box):
    assert reference_box(text) == box


def test_clipping():
    assert clip_to_frame((-0.2, 0.3, 1.7, 0.9)) == (0.0, 0.3, 1.0, 0.9)
    assert clip_to_frame((20, 20, 60, 60)) == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "iou"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1.0),
        ((0, 0, 1, 1), (0, 0, 0.5, 1), 0.5),
        ((0, 0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75), 1 / 7),  # 1/16 over 1/4 + 1/4 - 1/16
        ((0, 0, 0.5, 1), (0.5, 0, 1, 1), 0.0),  # they touch
        ((1, 1, 0, 0), (0, 0, 1, 1), 0.0),  # swapped corners
        ((0, 0, 0, 1), (0, 0, 1, 1), 0.0),  # no width
    ],
)
def test_iou_by_hand(first, second, iou):
    assert box_iou(first, second) == pytest.approx(iou, abs=1e-12)
    assert box_iou(second, first) == pytest.approx(iou, abs=1e-12)


def test_iou_against_counting_cells():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:20, 0:20]
    for _ in range(200):
        boxes = []
        for _ in range(2):
            x1, x2 = sorted(rng.choice(21, 2, replace=False).tolist())
            y1, y2 = sorted(rng.choice(21, 2, replace=False).tolist())
            boxes.append((x1, y1, x2, y2))
        inside = [(columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2) for x1, y1, x2, y2 in boxes]
        expected = (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()
        assert box_iou(*boxes) == pytest.approx(expected, abs=1e-12)
        assert reference_iou(*boxes, side=640) == pytest.approx(expected, abs=1e-12)


def test_reference_iou_lets_swapped_corners_through_without_credit():
    assert reference_iou((0.6, 0.6, 0.2, 0.2), (0.2, 0.2, 0.6, 0.6), side=1) == 0.0
    assert reference_iou((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5), side=1) == 0.0
