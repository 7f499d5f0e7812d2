"""A figure as marks in pixels: described once, `rendering` makes SVG for a page and PNG for a file of it.

Colours are names of the page's CSS variables, so that a figure follows its light or dark theme.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

INK, MUTED, GRID = "ink", "muted", "grid"
BLUE, ORANGE, GREEN = "line-blue", "line-orange", "line-green"
PURPLE, SKY, YELLOW = "line-purple", "line-sky", "line-yellow"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)
"""Okabe-Ito: safe for colour-blind readers."""
WIDTH = 860.0
"""Pixels; what a README column shows."""
LEGEND_LINE = 18.0
"""Pixels from one line of a legend to the next."""
Point = tuple[float, float]
Key = tuple[str, str, float]
"""Entry of a legend: label, colour, and height of its key in pixels; of height 0 is a dashed line."""


@dataclass(frozen=True)
class Shape:
    """A filled polygon; with a ``width`` (pixels) the line through the points, dashed where nothing was measured."""

    points: Sequence[Point]
    color: str
    width: float = 0
    dashed: bool = False
    opacity: float = 1


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    center: Point
    color: str
    radius: float


@dataclass(frozen=True)
class Text:
    """A line of text, in height centred at ``y``, in width with its ``anchor`` (start, middle, end) at ``x``."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    size: float = 11
    color: str = INK
    bold: bool = False


@dataclass
class Drawing:
    """Marks in the order in which they are drawn, on ``width`` x ``height`` pixels, y downwards.

    ``title`` and ``description`` are what a screen reader says; the description holds the numbers.
    """

    width: float
    height: float
    title: str
    description: str
    marks: list[Shape | Dot | Text] = field(default_factory=list)

    def add(self, *marks: Shape | Dot | Text) -> None:
        """Draw these, too."""
        self.marks.extend(marks)

    def heading(self, x: float, y: float, text: str) -> None:
        """Add the title of a panel."""
        self.add(Text(x, y, text, "start", 12, bold=True))

    def legend(self, keys: Sequence[Key], y: float = 12) -> None:
        """Add keys, centred, in as many lines as they need (see `legend_lines`), the first at `y`."""
        for line in legend_lines(keys, self.width):
            x = (self.width - sum(map(_room, line))) / 2
            for label, color, height in line:
                sample = box(x, y - height / 2, 14, height, color) if height else level(x, x + 14, y)
                self.add(sample, Text(x + 19, y, label, "start"))
                x += _room((label, color, height))
            y += LEGEND_LINE


def legend_lines(keys: Sequence[Key], width: float) -> list[list[Key]]:
    """Keys by line, each at most `width` pixels unless a single one is wider."""
    lines: list[list[Key]] = [[]]
    for key in keys:
        if lines[-1] and sum(map(_room, lines[-1])) + _room(key) > width:
            lines.append([])
        lines[-1].append(key)
    return lines


def _room(key: Key) -> float:
    """Pixels that a key and its label take."""
    return 38 + 6.1 * len(key[0])


def box(x: float, y: float, width: float, height: float, color: str, opacity: float = 1, outline: float = 0) -> Shape:
    """A rectangle from its upper left corner; filled, or only outlined."""
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return Shape([*corners, (x, y)], color, outline, opacity=opacity)


def level(left: float, right: float, y: float, color: str = MUTED) -> Shape:
    """A dashed line across."""
    return Shape([(left, y), (right, y)], color, 1, dashed=True)
