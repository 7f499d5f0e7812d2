"""Figure output: deterministic PNG, SVG that fits into a page."""

import re

from matplotlib.colors import to_rgb

from coin_lightning.reporting.style import INK, inline_svg, new_figure, png_bytes, text_on, tidy


def figure() -> object:
    made = new_figure(2, 1)
    ax = made.add_subplot()
    ax.plot([0, 1], color=INK)
    tidy(ax)
    ax.set_title("<&>")
    return made


def test_png_is_deterministic() -> None:
    first = png_bytes(figure())  # type: ignore[arg-type]
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert first == png_bytes(figure())  # type: ignore[arg-type]


def test_svg_has_own_ids_theme_colours_and_no_metadata() -> None:
    svg = inline_svg(figure(), "x7", "a label")  # type: ignore[arg-type]
    assert svg.startswith('<svg role="img" aria-label="a label"')
    assert all(name.startswith("x7-") for name in re.findall(r'\bid="([^"]+)"', svg))
    references = re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)
    assert references
    assert set(references) <= set(re.findall(r'\bid="([^"]+)"', svg))
    assert "var(--ink)" in svg
    assert INK not in svg
    assert "metadata" not in svg
    assert "&lt;&amp;&gt;" in svg


def test_text_contrast() -> None:
    assert text_on(to_rgb("#ffffff")) == "#1c2126"
    assert text_on(to_rgb("#08305a")) == "#ffffff"
