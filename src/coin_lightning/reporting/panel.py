"""Axes in a drawing: values to pixels, grid lines, curves and bars; and heat maps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

import numpy as np

from coin_lightning.reporting.drawing import GRID, INK, MUTED, Dot, Drawing, Point, Shape, Text, box, level
from coin_lightning.reporting.names import MINUS, percent

STRONGEST = 0.6
"""Opacity of the strongest cell of a heat map: ink on it stays readable in both themes."""


@dataclass(frozen=True)
class Panel:
    """A part of a drawing with axes.

    Attributes:
        left, top, width, height: its place, pixels.
        x: values at the left and right edge.
        y: values at the lower and upper edge.
    """

    drawing: Drawing
    left: float
    top: float
    width: float
    height: float
    x: Point
    y: Point

    def at(self, x: float, y: float) -> Point:
        """Pixels of a pair of values."""
        across, down = (x - self.x[0]) / (self.x[1] - self.x[0]), (self.y[1] - y) / (self.y[1] - self.y[0])
        return self.left + across * self.width, self.top + down * self.height

    def y_values(self, values: Iterable[float]) -> None:
        """Grid lines across, with their numbers at the left."""
        for value in values:
            ends = [self.at(x, value) for x in self.x]
            self.drawing.add(Shape(ends, GRID, 0.8), Text(ends[0][0] - 5, ends[0][1], _text(value), "end", 10, MUTED))

    def x_values(self, values: Iterable[float], labels: Sequence[str] = (), grid: bool = False) -> None:
        """Numbers below the panel, or labels in their place; with grid lines upwards where wanted."""
        for value, label in zip_longest(values, labels):
            ends = [self.at(value, y) for y in self.y]
            if grid:
                self.drawing.add(Shape(ends, GRID, 0.8))
            look = (11, INK) if label else (10, MUTED)
            self.drawing.add(Text(ends[0][0], ends[0][1] + 11, label or _text(value), "middle", *look))

    def level(self, y: float, color: str = MUTED) -> None:
        """A dashed line across; nothing for NaN."""
        if not np.isnan(y):
            self.drawing.add(level(self.left, self.left + self.width, self.at(0, y)[1], color))

    def curve(self, x: Iterable[float], y: Iterable[float], color: str, width: float = 2, radius: float = 2.2) -> None:
        """A line with dots through the values; it is broken where one is NaN."""
        for known, pairs in groupby(zip(x, y, strict=True), key=lambda pair: not np.isnan(pair[1])):
            if known:
                points = [self.at(*pair) for pair in pairs]
                self.drawing.add(Shape(points, color, width), *(Dot(point, color, radius) for point in points))

    def bar(self, x: Point, y: Point, color: str) -> None:
        """A rectangle between two values of each axis; nothing where one is NaN."""
        if not np.isnan([x, y]).any():
            (x1, y1), (x2, y2) = self.at(x[0], y[0]), self.at(x[1], y[1])
            self.drawing.add(box(min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1), color))

    def number(self, x: float, y: float, text: str, shift: Point = (0, -8), anchor: str = "middle") -> None:
        """A text at two values, moved by ``shift`` pixels; nothing where one is NaN."""
        if not np.isnan([x, y]).any():
            across, down = self.at(x, y)
            self.drawing.add(Text(across + shift[0], down + shift[1], text, anchor, 10))


def _text(value: float) -> str:
    return f"{value:g}".replace("-", MINUS)


def round_values(low: float, high: float, about: int = 4) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, some ``about`` of them."""
    rough = max(high - low, 1e-9) / about
    power = 10 ** np.floor(np.log10(rough))
    step = float(power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough))
    return [number * step for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def heat_map(drawing: Drawing, corner: Point, height: float, values: np.ndarray, rows: Sequence[str],
             columns: Sequence[str], shade: Callable[[float], tuple[str, float]]) -> None:  # fmt: skip
    """Cells from ``corner`` to the right edge, with their numbers where they fit; NaN is a dash in an empty frame.

    Args:
        drawing: where to draw.
        corner: upper left, pixels; labels of the rows stand left of it, those of the columns above.
        height: of a row, pixels.
        values: ``[rows, columns]``.
        rows: labels.
        columns: labels.
        shade: value -> colour and opacity (0 to `STRONGEST`).
    """
    (left, top), width = corner, (drawing.width - corner[0]) / values.shape[1]
    drawing.add(*(Text(left + (column + 0.5) * width, top - 10, label) for column, label in enumerate(columns)))
    drawing.add(*(Text(left - 8, top + (row + 0.5) * height, label, "end") for row, label in enumerate(rows)))
    for row, column in np.ndindex(values.shape):
        x, y, value = left + column * width, top + row * height, float(values[row, column])
        missing = np.isnan(value)
        color, opacity = (GRID, 1.0) if missing else shade(value)
        drawing.add(box(x + 1, y + 1, width - 2, height - 2, color, opacity, outline=0.8 if missing else 0))
        if width > 24:
            ink, size = MUTED if missing else INK, min(11, width / 3.1)
            drawing.add(Text(x + width / 2, y + height / 2, percent(value), size=size, color=ink))
