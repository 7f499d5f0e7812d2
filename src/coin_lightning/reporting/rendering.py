"""Drawings as SVG for a page, in its own font and colours, and as PNG for a file."""

import io
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from coin_lightning.reporting import drawing as marks
from coin_lightning.reporting.drawing import Dot, Drawing, Shape

LIGHT = {
    marks.INK: "#24292f",
    marks.MUTED: "#6e7781",
    marks.GRID: "#d8dee4",
    marks.BLUE: "#0072b2",
    marks.ORANGE: "#d55e00",
    marks.GREEN: "#009e73",
    marks.PURPLE: "#a6579b",
    marks.SKY: "#56b4e9",
    marks.YELLOW: "#e69f00",
}
"""The colours on white; a page has them, and those on black, in `templates/page.css.j2`."""
PIXELS_PER_INCH = 100
MARGIN = 12.0
"""Pixels around a drawing in a file; a page has its own."""


def svg(drawing: Drawing) -> Markup:
    """The drawing as an ``<svg>`` element, as wide as its place in the page."""
    parts = "\n".join(_svg_mark(mark) for mark in drawing.marks)
    return Markup(
        f'<svg role="img" viewBox="0 0 {drawing.width:g} {drawing.height:g}">\n'
        f"<title>{escape(drawing.title)}</title><desc>{escape(drawing.description)}</desc>\n{parts}\n</svg>"
    )


def _svg_mark(mark: Shape | Dot | marks.Text) -> str:
    color = f"var(--{mark.color})"
    if isinstance(mark, Shape):
        dashes = ";stroke-dasharray:4 3" if mark.dashed else ""
        line = f"fill:none;stroke:{color};stroke-width:{mark.width:g};stroke-linejoin:round{dashes}"
        style = line if mark.width else f"fill:{color};fill-opacity:{mark.opacity:.3g}"
        return f'<polyline points="{" ".join(f"{x:.5g},{y:.5g}" for x, y in mark.points)}" style="{style}"/>'
    if isinstance(mark, Dot):
        return f'<circle cx="{mark.center[0]:.5g}" cy="{mark.center[1]:.5g}" r="{mark.radius:g}" style="fill:{color}"/>'
    weight = ";font-weight:600" if mark.bold else ""
    style = f"font-size:{mark.size:.3g}px;text-anchor:{mark.anchor};fill:{color}{weight}"
    return f'<text x="{mark.x:.5g}" y="{mark.y:.5g}" dy=".36em" style="{style}">{escape(mark.text)}</text>'


def png_bytes(drawing: Drawing, dpi: int = 180) -> bytes:
    """The drawing with a margin as PNG on white, ``dpi`` / 100 times its size; equal drawings give equal bytes."""
    from matplotlib.figure import Figure  # imported where it is used: a page does without

    width, height = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    figure = Figure((width / PIXELS_PER_INCH, height / PIXELS_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-MARGIN, width - MARGIN), ylim=(height - MARGIN, -MARGIN))
    axes.set_axis_off()
    for order, mark in enumerate(drawing.marks):
        axes.add_artist(_artist(mark)).set_zorder(order)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _artist(mark: Shape | Dot | marks.Text) -> Any:
    from matplotlib import lines, patches, text

    color, point = LIGHT[mark.color], 72 / PIXELS_PER_INCH
    if isinstance(mark, Shape) and mark.width:
        x, y = zip(*mark.points, strict=True)
        return lines.Line2D(x, y, color=color, linewidth=mark.width * point, dashes=(4, 3) if mark.dashed else ())
    if isinstance(mark, Shape):
        return patches.Polygon(list(mark.points), facecolor=color, alpha=mark.opacity, linewidth=0)
    if isinstance(mark, Dot):
        return patches.Circle(mark.center, mark.radius, color=color, linewidth=0)
    side: Any = {"start": "left", "middle": "center", "end": "right"}[mark.anchor]
    weight = "bold" if mark.bold else "normal"
    return text.Text(mark.x, mark.y + 0.36 * mark.size, mark.text, color=color, ha=side, parse_math=False,
                     fontsize=mark.size * point, fontweight=weight)  # fmt: skip


def save_png(drawing: Drawing, path: Path) -> Path:
    """Write the drawing to ``path``, making its folder; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(drawing))
    return path
