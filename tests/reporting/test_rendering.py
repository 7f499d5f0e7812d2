"""One description, two outputs: well-formed SVG in the page's colours, and the same marks as PNG."""

import io
import re
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageColor

from coin_lightning.reporting.drawing import BLUE, CYCLE, GRID, INK, MUTED, Dot, Drawing, Shape, Text, box
from coin_lightning.reporting.html import template
from coin_lightning.reporting.rendering import LIGHT, MARGIN, png_bytes, svg


def drawing() -> Drawing:
    made = Drawing(200, 100, "<&>", 'numbers "1"')
    made.add(box(20, 20, 40, 30, BLUE), box(100, 20, 40, 30, BLUE, 0.5), Dot((30, 80), MUTED, 8))
    made.add(Shape([(80, 60), (80, 90)], GRID, 4), Text(150, 80, "<b> $x$", "end", 11, INK, bold=True))
    return made


def test_svg_says_what_it_shows_and_escapes() -> None:
    root = ElementTree.fromstring(svg(drawing()))
    assert (root.get("role"), root.get("viewBox")) == ("img", "0 0 200 100")
    assert [child.text for child in root if child.tag in ("title", "desc", "text")] == ["<&>", 'numbers "1"', "<b> $x$"]
    assert [child.tag for child in root][2:] == ["polyline", "polyline", "circle", "polyline", "text"]


def test_png_is_deterministic_and_has_the_marks_where_they_are() -> None:
    first = png_bytes(drawing(), dpi=100)
    assert first == png_bytes(drawing(), dpi=100)
    pixels = np.asarray(Image.open(io.BytesIO(first)).convert("RGB")).astype(int)
    assert pixels.shape == (100 + 2 * MARGIN, 200 + 2 * MARGIN, 3)

    def at(x: float, y: float) -> np.ndarray:
        return pixels[int(y + MARGIN), int(x + MARGIN)]

    blue, white = np.array(ImageColor.getrgb(LIGHT[BLUE])), np.array([255, 255, 255])
    places = {(40, 35): blue, (120, 35): (blue + white) / 2, (30, 80): ImageColor.getrgb(LIGHT[MUTED]),
              (80, 75): ImageColor.getrgb(LIGHT[GRID]), (180, 80): white, (5, 5): white}  # fmt: skip
    for place, color in places.items():
        np.testing.assert_allclose(at(*place), color, atol=2, err_msg=str(place))


def test_every_colour_has_a_value_in_both_themes() -> None:
    css = template("page.css.j2").render()
    light, dark = (
        set(re.findall(r"--([\w-]+):", part)) for part in css.split("@media (prefers-color-scheme:dark)")[:2]
    )
    assert {INK, MUTED, GRID, *CYCLE} == set(LIGHT) <= light
    assert {INK, MUTED, GRID, BLUE} <= dark
