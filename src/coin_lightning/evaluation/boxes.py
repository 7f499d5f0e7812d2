"""Reading boxes from text and comparing them."""

import re
from collections.abc import Mapping
from typing import Any

from coin_lightning.backbones.box_formats import Box, four_numbers, read_box

IOU_THRESHOLD = 0.5  # to be exceeded, as in CoIN, MiniGPT-v2


def parse_box(text: str) -> Box | None:
    """The four numbers of a text in CoIN's own format, in their order, or None unless there are exactly four.

    Any brackets, separators, spaces and words are allowed around the numbers: "[0.1,0.2,0.3,0.4]", "(0, 0), (1, 1)",
    "x1=.1 y1=.2 x2=.3 y2=.4". The numbers are not checked here: see `clip_to_frame` and `box_iou`.
    """
    return four_numbers(text)


def answer_box(prediction: str, reference: Mapping[str, Any]) -> Box | None:
    """The box of an answer in the padded frame, read in the format that its model writes; None when it is none.

    Raises:
        ConfigError: the format is unknown, or needs a size that is missing.
    """
    return read_box(prediction, reference.get("box_format"), reference.get("size"))


def clip_to_frame(box: Box) -> Box:
    """The part of a box in normalised coordinates that lies in the image: every coordinate brought into [0, 1]."""
    x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in box)
    return x1, y1, x2, y2


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2; 0 where a box has no area or its corners are swapped."""
    if not (_has_area(first) and _has_area(second)):
        return 0.0
    return _raw_iou(first, second)


def _has_area(box: Box) -> bool:
    x1, y1, x2, y2 = box
    return x1 < x2 and y1 < y2


def reference_box(text: str) -> Box | None:
    """The box that CoIN's own parser reads, or None where it gives up.

    It removes square brackets and then also the first and the last character, so that "[0.12,0.34,0.56,0.78]" is
    read as .12, 0.34, 0.56, 0.7.
    """
    try:
        numbers = [float(part) for part in text.replace("[", "").replace("]", "")[1:-1].split(",")]
    except ValueError:
        return None
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None


_DECIMAL_ABOVE_ZERO = re.compile(r"[1-9]\d*\.\d*|0\.\d*[1-9]\d*")


def minigpt_box(text: str) -> Box | None:
    """The box that CoIN reads from an answer of MiniGPT-v2: its first four decimals that are not zero.

    "0.0" and numbers without a point are not seen: a box at the upper or left edge is never read, nor one in the
    model's own notation, "{<10><20><30><40>}".
    """
    numbers = [float(part) for part in _DECIMAL_ABOVE_ZERO.findall(text)[:4]]
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None


def reference_iou(first: Box, second: Box, side: float) -> float:
    """CoIN's intersection over union of boxes scaled to `side` pixels; corners unchecked, 0 for a union <= 0."""
    a, b = tuple(x * side for x in first), tuple(x * side for x in second)
    return _raw_iou((a[0], a[1], a[2], a[3]), (b[0], b[1], b[2], b[3]))


def _raw_iou(first: Box, second: Box) -> float:
    ax1, ay1, ax2, ay2 = first
    bx1, by1, bx2, by2 = second
    overlap = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - overlap
    return overlap / union if union > 0 else 0.0
