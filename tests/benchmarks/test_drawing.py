from random import Random

import pytest
from PIL import Image

from coin_lightning.benchmarks.drawing import (
    INK,
    PHOTOS,
    disc,
    drawing_tools,
    fitting_font,
    paste,
    readable_on,
    sign,
    text_in_box,
    turned,
    veiled,
)


def test_text_fills_its_box_but_stays_inside():
    image = Image.new("RGB", (120, 60), (255, 255, 255))
    text_in_box(image, "Exit", (20, 10, 100, 50), "DejaVuSans-Bold", (0, 0, 0))
    ink = Image.eval(image.convert("L"), lambda value: 255 - value).getbbox()
    assert ink is not None
    assert ink[0] >= 20
    assert ink[1] >= 10
    assert ink[2] <= 100
    assert ink[3] <= 50
    assert ink[2] - ink[0] > 60  # as large as fits
    assert fitting_font("DejaVuSans", "x" * 500, 10, 10).size == 7


def test_ink_stands_out():
    assert readable_on((255, 255, 0)) == INK["black"]
    assert readable_on((0, 0, 120)) == INK["white"]


def test_a_veil_is_a_weighted_mean():
    half = veiled(Image.new("RGB", (4, 4), (0, 100, 200)), (200, 100, 0), 50)
    assert half.getpixel((1, 1)) == pytest.approx((100, 100, 100), abs=1)


def test_paste_gives_the_box_and_respects_transparency():
    image = Image.new("RGB", (20, 20), (9, 9, 9))
    glyph = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    glyph.putpixel((5, 3), (255, 0, 0, 255))
    assert paste(image, glyph, 3, 2) == (3, 2, 9, 6)
    assert image.getpixel((8, 5)) == (255, 0, 0)
    assert image.getpixel((3, 2)) == (9, 9, 9)


def test_a_quarter_turn_swaps_the_sides():
    bar = Image.new("RGBA", (40, 10), (10, 20, 30, 255))
    assert turned(bar, 90).size == pytest.approx((10, 40), abs=1)
    assert turned(bar, 0).size == (40, 10)


def test_a_disc_has_its_area():
    image = Image.new("L", (100, 100), 0).convert("RGB")
    disc(image, (50, 50), 40, (255, 255, 255))
    assert sum(image.convert("L").tobytes()) / 255 == pytest.approx(3.14159 * 40 * 40, rel=0.01)


def test_a_sign_has_its_colour_and_its_border():
    image = Image.new("RGB", (100, 60), (9, 9, 9))
    sign(image, "A", (10, 10, 90, 50), "red", Random(0))
    assert image.getpixel((16, 30)) == INK["red"]
    assert image.getpixel((10, 30)) == INK["white"]
    assert image.getpixel((2, 2)) == (9, 9, 9)


def test_tools_name_what_decides_the_bytes():
    assert set(drawing_tools()) == {"pil", "freetype2", "libjpeg_turbo", "matplotlib (fonts)"}


@pytest.mark.assets
def test_glyphs_are_cut_to_their_ink_at_the_asked_size(materials):
    for side in (40, 111, 160):
        dog = materials.glyph("🐶", side)
        assert max(dog.size) == side
        assert dog.getbbox() == (0, 0, *dog.size)
    red, blue = (materials.glyph(char, 50).getpixel((25, 25)) for char in "🟥🟦")
    assert red[0] > 180 > 90 > red[2]
    assert blue[2] > 180 > blue[0]


@pytest.mark.assets
def test_photos_and_their_crops(materials):
    assert tuple(materials.photos) == PHOTOS
    assert {min(photo.size) for photo in materials.photos.values()} == {300}
    crops = [materials.photo_crop(Random(i), (224, 148), (0, 0, 0), 0) for i in range(4)]
    assert {crop.size for crop in crops} == {(224, 148)}
    assert len({crop.tobytes() for crop in crops}) == 4
    assert materials.background(Random(1), (168, 224)).size == (168, 224)
