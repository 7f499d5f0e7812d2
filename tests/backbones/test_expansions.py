"""Placeholders and what they become, by hand."""

from coin_lightning.backbones.expansions import expanded
from coin_lightning.backbones.family import Expansion
from coin_lightning.backbones.prompts import Rendered

TILES = Expansion("[<i>|<i>]", (4, 2))


def test_spans_move_with_the_text_and_somebodys_placeholder_stays():
    """`ab` is somebody's, `x` the answer; the `<i>` within the quoted text is a word."""
    page = Rendered("<i>ab <i> <i>x", [(13, 14)], [(3, 9)])
    found, runs = expanded(page, "<i>", [TILES, TILES])
    assert found.text == "[<i>|<i>]ab <i> [<i>|<i>]x"
    assert [found.text[start:stop] for start, stop in found.learned] == ["x"]
    assert [found.text[start:stop] for start, stop in found.plain] == ["ab <i>"]
    assert runs == [4, 2, 4, 2]


def test_a_page_whose_placeholders_stay_is_the_same():
    page = Rendered("<i>\na", [], [(4, 5)])
    assert expanded(page, "<i>", [Expansion("<i>", (576,))]) == (page, [576])


def test_images_without_a_place_and_places_without_an_image_stay_out():
    page = Rendered("<i> <i>", [], [])
    assert expanded(page, "<i>", [TILES])[0].text == "[<i>|<i>] <i>"
    assert expanded(Rendered("a", [], []), "<i>", [TILES]) == (Rendered("a", [], []), [])
