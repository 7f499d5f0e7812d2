import random

import pytest

from coin_lightning.backbones.box_formats import (
    FRAMES,
    NUMBERS,
    BoxFormat,
    box_format,
    box_on_disk,
    four_numbers,
    read_box,
    to_original,
    to_padded,
)
from coin_lightning.errors import ConfigError

LANDSCAPE, PORTRAIT, SQUARE = (400, 200), (100, 400), (300, 300)
QWEN, MINIGPT = BoxFormat("squashed", "thousand_tags"), BoxFormat("squashed", "percent_tags")


@pytest.mark.parametrize(
    ("size", "padded", "original"),
    [
        # 400 x 200 in a square of 400: the image's rows are 100 to 300, so y = (400 p - 100) / 200
        (LANDSCAPE, (0.1, 0.25, 0.5, 0.75), (0.1, 0.0, 0.5, 1.0)),
        (LANDSCAPE, (0.0, 0.4, 1.0, 0.5), (0.0, 0.3, 1.0, 0.5)),
        # 100 x 400: columns 150 to 250, so x = (400 p - 150) / 100
        (PORTRAIT, (0.4, 0.1, 0.5, 0.9), (0.1, 0.1, 0.5, 0.9)),
        (PORTRAIT, (0.375, 0.0, 0.625, 1.0), (0.0, 0.0, 1.0, 1.0)),
        (SQUARE, (0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4)),
        # 3 x 6: (6 - 3) // 2 = 1, as the padding itself rounds down
        ((3, 6), (1 / 6, 0.0, 4 / 6, 1.0), (0.0, 0.0, 1.0, 1.0)),
    ],
)
def test_frames_by_hand(size, padded, original):
    assert to_original(padded, size) == pytest.approx(original)
    assert to_padded(original, size) == pytest.approx(padded)


@pytest.mark.parametrize(
    ("form", "size", "text"),
    [
        (BoxFormat(), LANDSCAPE, "[0.1,0.25,0.5,0.75]"),
        (BoxFormat("squashed"), LANDSCAPE, "[0.1,0.0,0.5,1.0]"),
        (BoxFormat("original"), LANDSCAPE, "[0.1,0.0,0.5,1.0]"),
        (BoxFormat("squashed"), SQUARE, "[0.1,0.25,0.5,0.75]"),
        (MINIGPT, LANDSCAPE, "{<10><0><50><100>}"),
        (MINIGPT, PORTRAIT, "{<0><25><50><75>}"),  # the left edge lies in the padding: x = -1.1
        (QWEN, LANDSCAPE, "<box>(100,0),(500,999)</box>"),
        (QWEN, SQUARE, "<box>(100,250),(500,750)</box>"),
        (BoxFormat("padded", "thousand_tags"), LANDSCAPE, "<box>(100,250),(500,750)</box>"),
        (BoxFormat("original", "thousand"), LANDSCAPE, "[100,0,500,1000]"),
        (BoxFormat("original", "thousand_boxes"), LANDSCAPE, "<box>[[100, 0, 500, 1000]]</box>"),
        (BoxFormat("original", "pixels", (392, 196)), LANDSCAPE, "[39,0,196,196]"),
    ],
)
def test_boxes_are_written_by_hand(form, size, text):
    assert form.write((0.1, 0.25, 0.5, 0.75), size) == text


def test_two_decimals_without_trailing_zeros():
    assert BoxFormat().write((0.0, 0.126, 0.5, 1.0), SQUARE) == "[0.0,0.13,0.5,1.0]"


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    ("numbers", "step"),
    [("unit", 0.01), ("percent_tags", 0.01), ("thousand_tags", 0.002), ("thousand", 0.001), ("thousand_boxes", 0.001)],
)
def test_round_trips_stay_within_the_rounding(frame, numbers, step):
    rng, form = random.Random(0), BoxFormat(frame, numbers)
    for size in (LANDSCAPE, PORTRAIT, SQUARE, (639, 426), (1, 50)):
        for _ in range(50):
            x1, x2 = sorted((rng.random(), rng.random()))
            y1, y2 = sorted((rng.random(), rng.random()))
            box = to_padded((x1, y1, x2, y2), size)
            found = form.read(form.write(box, size), size)
            assert found == pytest.approx(box, abs=step / 2 + 1e-9)
            # written again, nothing moves any more
            assert form.write(found, size) == form.write(box, size)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (BoxFormat(), "[0.25,0.5,0.75,1.0]"),
        (BoxFormat(), "It is at (0.25, 0.5), (0.75, 1)."),
        (MINIGPT, "{<25><50><75><100>}"),
        (MINIGPT, "<p>cat</p> {<25><50><75><100>}"),
        (MINIGPT, "<25> <50> <75> <100>"),
        (MINIGPT, "25,50,75,100"),
        (QWEN, "<ref>cat</ref><box>(250,500),(750,1000)</box>"),
        (QWEN, "(250,500),(750,1000)"),  # decoding has dropped the special tokens
        (QWEN, "250 500 750 1000"),
        (BoxFormat("padded", "thousand"), '{"bbox_2d": [250, 500, 750, 1000]}'),
        (BoxFormat("padded", "thousand_boxes"), "<ref>cat</ref><box>[[250, 500, 750, 1000]]</box>"),
        (QWEN, " <box> ( 250 , 500 ) , ( 750 , 1000 ) </box>"),
    ],
)
def test_brackets_and_tags_may_be_missing(form, text):
    assert form.read(text, SQUARE) == pytest.approx((0.25, 0.5, 0.75, 1.0))


@pytest.mark.parametrize("text", ["", "cat", "{<25><50><75>}", "{<25><50><75><100><3>}", "0.1.2, 3, 4, 5"])
@pytest.mark.parametrize("numbers", NUMBERS)
def test_what_has_not_four_numbers_is_no_box(text, numbers):
    assert BoxFormat("padded", numbers).read(text, SQUARE) is None


def test_numbers_outside_the_frame_are_read_as_they_are():
    assert MINIGPT.read("{<-10><0><120><50>}", SQUARE) == pytest.approx((-0.1, 0.0, 1.2, 0.5))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("[0.1,0.2,0.3,0.4]", (0.1, 0.2, 0.3, 0.4)),
        ("x1=.1 y1=.2 x2=.3 y2=.4", (0.1, 0.2, 0.3, 0.4)),
        ("{<10><20><30><40>}", (10, 20, 30, 40)),
        ("0.1-0.2-0.3-0.4", (0.1, 0.2, 0.3, 0.4)),
        ("\uff10.1, 0.2, 0.3, \u22120.4", (0.1, 0.2, 0.3, -0.4)),  # full-width zero, a minus sign
        ("1e-1 2e-1 3e-1 4e-1", (0.1, 0.2, 0.3, 0.4)),
        ("[0.1,0.2,0.3]", None),
    ],
)
def test_four_numbers_of_a_text(text, numbers):
    assert four_numbers(text) == (numbers if numbers is None else pytest.approx(numbers))


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[0.1,0.2,0.3,0.4]", (0.1, 0.2, 0.3, 0.4)),
        (" [0, 0.25, 1, 1.0] ", (0, 0.25, 1, 1)),
        ("[.1,.2,.3,.4]", (0.1, 0.2, 0.3, 0.4)),
        ("[1,2,3,4]", None),
        ("[0.1,0.2,0.3]", None),
        ("the box [0.1,0.2,0.3,0.4]", None),
        ("0.1,0.2,0.3,0.4", None),
        ("[0.1,0.2,0.3,1.4]", None),
        ("[0.0,0.25,1.01,0.75]", (0, 0.25, 1.01, 0.75)),  # as the truth of test samples may exceed the frame
        ("[-0.01,0.25,1.03,0.75]", None),
        ("[ 0.1, 0.2,  0.3,0.4 ].", (0.1, 0.2, 0.3, 0.4)),
        ("[1e-2,0.2,0.3,0.4]", (0.01, 0.2, 0.3, 0.4)),
        ("[0.1,0.2,0.3,0.4] [0.1,0.2,0.3,0.4]", None),
        ("", None),
    ],
)
def test_only_what_is_nothing_but_a_box_is_one_on_disk(text, box):
    assert box_on_disk(text) == box


def test_what_a_record_keeps_is_enough_to_read():
    for form in (QWEN, MINIGPT, BoxFormat("original"), BoxFormat("padded", "thousand_tags")):
        text = form.write((0.1, 0.25, 0.5, 0.75), LANDSCAPE)
        assert read_box(text, form.describe(), list(LANDSCAPE)) == pytest.approx((0.1, 0.25, 0.5, 0.75), abs=0.0006)
    assert read_box("[0.1,0.2,0.3,0.4]", None, None) == (0.1, 0.2, 0.3, 0.4)
    assert read_box("none", None, None) is None
    for size in (None, [1], [0, 5]):
        with pytest.raises(ConfigError, match="a box of the squashed frame needs the image's size"):
            read_box("[0.1,0.2,0.3,0.4]", {"frame": "squashed", "numbers": "unit"}, size)


def test_settings_are_filled_up_from_frame_and_prompt():
    assert box_format(None, "pad", "unit") == BoxFormat()
    assert box_format(None, "crop", "unit").as_on_disk
    assert box_format({}, "squash", "thousand_tags") == QWEN
    assert box_format({"numbers": "unit"}, "squash", "percent_tags") == BoxFormat("squashed")
    with pytest.raises(ConfigError, match=r"backbone\.boxes\.scale: there is no such option"):
        box_format({"scale": "1"}, "pad", "unit")
    with pytest.raises(
        ConfigError, match=r"backbone\.boxes\.numbers='float' is unknown; use one of unit, percent_tags"
    ):
        BoxFormat(numbers="float")


def test_pixels_are_those_of_the_image_as_it_is_shown():
    """An image of 400 x 200 shown as 392 x 196; its box in pixels is read back from what a record keeps."""
    form = BoxFormat("original", "pixels", (392, 196))
    box = read_box('{"bbox_2d": [98, 49, 196, 147]}', form.describe(), LANDSCAPE)
    assert box == pytest.approx(to_padded((0.25, 0.25, 0.5, 0.75), LANDSCAPE))
    with pytest.raises(ConfigError, match=r"needs the size in which its image is shown, found \(\)"):
        read_box("[1,2,3,4]", {"frame": "original", "numbers": "pixels"}, LANDSCAPE)
