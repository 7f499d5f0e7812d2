"""What a reader of a drawing sees: its texts, and the values at pixels, read off the numbers at an axis."""

import numpy as np

from coin_lightning.reporting.drawing import GRID, MUTED, Dot, Drawing, Shape, Text


def texts(drawing: Drawing, **look: object) -> list[str]:
    """Texts with these attributes, in the order of drawing."""
    found = [mark for mark in drawing.marks if isinstance(mark, Text)]
    return [mark.text for mark in found if all(getattr(mark, key) == value for key, value in look.items())]


def heights(drawing: Drawing, pixels: list[float]) -> np.ndarray:
    """Values at vertical places, by the first two numbers that stand at a grid line."""
    lines = {mark.points[0][1] for mark in drawing.marks if isinstance(mark, Shape) and mark.color == GRID}
    numbers = [mark for mark in drawing.marks if isinstance(mark, Text) and mark.color == MUTED and mark.y in lines]
    (y1, first), (y2, second) = [(mark.y, float(mark.text.replace("\u2212", "-"))) for mark in numbers[:2]]
    return first + (np.array(pixels) - y1) * (second - first) / (y2 - y1)


def dots(drawing: Drawing, color: str) -> list[float]:
    """Vertical places of the dots of a colour, left to right."""
    found = [mark.center for mark in drawing.marks if isinstance(mark, Dot) and mark.color == color]
    return [y for _, y in sorted(found)]


def boxes(drawing: Drawing, color: str, outlined: bool = False) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) of the rectangles of a colour, keys of the legend left out."""
    found = [
        mark for mark in drawing.marks if isinstance(mark, Shape) and mark.color == color and len(mark.points) == 5
    ]
    corners = [(*mark.points[0], *mark.points[2]) for mark in found if bool(mark.width) == outlined]
    return [corner for corner in corners if corner[2] - corner[0] != 14]
