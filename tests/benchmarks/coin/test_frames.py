import math

import pytest

from coin_lightning.benchmarks.coin.frames import corner_box, format_box, original_box, padded_box


def test_the_padded_frame_by_hand():
    # 200 x 100 padded to 200 x 200 puts 50 pixels above: y 20 -> 70/200, y 60 -> 110/200.
    assert padded_box((40, 20, 100, 60), (200, 100)) == [0.2, 0.35, 0.5, 0.55]
    # 100 x 200: 50 pixels to the left.
    assert padded_box((0, 0, 100, 200), (100, 200)) == [0.25, 0.0, 0.75, 1.0]
    assert padded_box((1, 2, 3, 4), (10, 10)) == [0.1, 0.2, 0.3, 0.4]
    # An odd difference: of 3 pixels 1 is above, as where the image is pasted into its square.
    assert padded_box((0, 0, 10, 7), (10, 7)) == [0.0, 0.1, 1.0, 0.8]


def test_the_frame_of_the_image_by_hand():
    assert original_box((40, 20, 100, 60), (200, 100)) == [0.2, 0.2, 0.5, 0.6]


def test_boxes_are_written_as_coin_writes_them():
    assert format_box([0.0, 0.304, 0.5, 0.999]) == "[0.0,0.3,0.5,1.0]"
    assert format_box([0.125, 0.135, 1 / 3, 1]) == "[0.12,0.14,0.33,1]"  # Python's round; shares are floats


def test_coco_boxes_become_corners():
    assert corner_box([40, 20, 60, 40], (200, 100)) == (40, 20, 100, 60)
    assert corner_box([40.5, 20.25, 59.5, 39.75], (200, 100)) == (40.5, 20.25, 100.0, 60.0)
    # A box that a rounding has put over the edge is cut there.
    assert corner_box([-0.4, 0, 200.9, 101], (200, 100)) == (0, 0, 200, 100)


@pytest.mark.parametrize(
    ("bbox", "message"),
    [
        ([40, 20, 161.5, 10], "leaves its image of 200 x 100 pixels"),
        ([40, 20, 10, 81.5], "leaves its image"),
        ([-1.5, 20, 10, 10], "leaves its image"),
        ([0, -2, 10, 10], "leaves its image"),
        ([300, 20, 10, 10], "leaves its image"),
        ([40, 20, 0, 10], "has no area"),
        ([40, 20, 10, -3], "has no area"),
        ([40, 20, 10], "is no list of four numbers"),
        ([40, 20, 10, "30"], "is no list of four numbers"),
        ([40, 20, 10, math.inf], "is no list of four numbers"),
        ([math.nan, 20, 10, 3], "is no list of four numbers"),
        (None, "is no list of four numbers"),
    ],
)
def test_impossible_boxes_are_refused(bbox, message):
    with pytest.raises(ValueError, match=message):
        corner_box(bbox, (200, 100))
