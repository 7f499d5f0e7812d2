"""Boxes in CoIN's two frames and in its writing (`coin_reference.md` section 3.4)."""

import math
from collections.abc import Sequence
from typing import Any

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
TOLERANCE = 1.0  # pixels; COCO's boxes are rounded and may reach a little over the edge


def padded_box(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    """The box in the frame of the image padded to a square about its centre, as shares of the longer side (0-1)."""
    side = max(size)
    shift = ((side - size[0]) // 2, (side - size[1]) // 2)
    return [(value + shift[i % 2]) / side for i, value in enumerate(box)]


def original_box(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    """The box in the frame of the image itself, as shares of its width and height (0-1)."""
    return [value / size[i % 2] for i, value in enumerate(box)]


def format_box(box: Sequence[float]) -> str:
    """``[0.01,0.45,0.3,0.0]``: two decimals, trailing zeros dropped, no spaces, as CoIN writes boxes."""
    return "[" + ",".join(str(round(value, 2)) for value in box) + "]"


def corner_box(bbox: Any, size: tuple[int, int]) -> Box:
    """COCO's ``[x, y, width, height]`` in pixels as a box, which is cut at the image's edge.

    Raises:
        ValueError: it is no such list, has no area, or reaches more than `TOLERANCE` pixels out of the image.
    """
    numbers = isinstance(bbox, list | tuple) and len(bbox) == 4 and all(isinstance(n, int | float) for n in bbox)
    if not numbers or not all(math.isfinite(n) for n in bbox):
        raise ValueError(f"box {bbox!r} is no list of four numbers")
    left, top, width, height = bbox
    if width <= 0 or height <= 0:
        raise ValueError(f"box {bbox} has no area")
    right, bottom = left + width, top + height
    if min(left, top) < -TOLERANCE or right > size[0] + TOLERANCE or bottom > size[1] + TOLERANCE:
        raise ValueError(f"box {bbox} leaves its image of {size[0]} x {size[1]} pixels")
    return max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
