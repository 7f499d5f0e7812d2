"""One look for all figures: colours (Okabe-Ito, safe for colour-blind readers), text, and the two output formats.

Figures are plain ``matplotlib.figure.Figure`` objects, never pyplot ones, so that nothing is kept between them.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# These, blue and orange become CSS variables in inline SVG, so that a page can switch to a dark theme.
INK, MUTED, GRID = "#24292f", "#6e7781", "#d8dee4"
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#a6579b", "#56b4e9", "#e69f00"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)
SCORE_MAP = LinearSegmentedColormap.from_list("score", ["#f3f7fb", "#a8cbe4", "#3b8ac0", "#0b4f86", "#08305a"])
BALANCE_MAP = LinearSegmentedColormap.from_list("balance", ["#d4600a", "#f0b28a", "#f7f7f5", "#8fc0de", "#0a6fb0"])
WIDTH = 8.6  # inches; at 100 pixels per inch the width of a README column
_CSS = {
    BLUE: "var(--line-blue)",
    ORANGE: "var(--line-orange)",
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
}
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "coin_lightning",
    "hatch.linewidth": 0.6,
    "hatch.color": GRID,
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained")


def tidy(ax: Axes, grid: str | None = "y") -> None:
    """Quiet axes: no box, muted ticks, thin grid lines along ``grid`` behind the data."""
    ax.set_facecolor("none")
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom") and grid is not None)
        spine.set_color(GRID)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=2.5, width=0.6)
    ax.set_axisbelow(True)
    if grid is not None:
        ax.grid(axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type]


def heading(ax: Axes, text: str, size: float = 9.5) -> None:
    """Left-aligned title of one panel."""
    ax.set_title(text, loc="left", fontsize=size, color=INK, fontweight="bold", pad=6)


def text_on(color: Sequence[float]) -> str:
    """Dark or light text, whichever is read more easily on an RGB(A) colour (relative luminance, WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if luminance < 0.3 else "#1c2126"


def png_bytes(figure: Figure, dpi: int = 180) -> bytes:
    """The figure as PNG on white; no date inside, so the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(_RC):
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> Path:
    """Write the figure to ``path``, making its folder; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(figure))
    return path


def inline_svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as an ``<svg>`` element for a page.

    Text stays text in the page's own font, and neutral colours become CSS variables.

    Args:
        figure: what to draw.
        prefix: letters put before every id, different for each figure of a page.
        label: what a screen reader says.
    """
    buffer = io.StringIO()
    with mpl.rc_context(_RC):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{prefix}-', svg).replace("url(#", f"url(#{prefix}-")
    svg = re.sub(r"font: ((?:\w+ )?)([\d.]+)px [^;\"]+", r"font-size: \2px; font-family: inherit; font-weight: \1", svg)
    svg = svg.replace("font-weight: ;", "").replace('font-weight: "', '"')
    for color, variable in _CSS.items():
        svg = svg.replace(color, variable)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
