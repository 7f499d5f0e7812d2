"""Boxes of a grounding task: readable, inside their frame and their image, and the same place in both frames."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coin_lightning.backbones.box_formats import SLACK
from coin_lightning.tasks.checks.findings import Findings
from coin_lightning.tasks.image_ledger import ImageFacts

Box = tuple[float, float, float, float]


@dataclass
class BoxSample:
    """A box of a sample with what must agree with it; `origin` in the image's own frame, `size` as the sample says."""

    sample: int
    image: str | None
    box: Box
    origin: Box | None = None
    size: tuple[float, float] | None = None


@dataclass
class Boxes:
    """The readable boxes of one file."""

    split: str
    samples: list[BoxSample] = field(default_factory=list)

    def areas(self) -> NDArray[np.float64]:
        """Share of the padded square that each box covers."""
        boxes = np.array([each.box for each in self.samples], np.float64).reshape(-1, 4)
        sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, 1)
        return sides[:, 0] * sides[:, 1]


def read_box(value: Any) -> Box | None:
    """The box of a field on disk, `"[x1,y1,x2,y2]"` or a list; None unless it is four finite numbers."""
    parts = value if isinstance(value, list) else str(value).strip().removeprefix("[").removesuffix("]").split(",")
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError):
        return None
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        return None
    return numbers[0], numbers[1], numbers[2], numbers[3]


def read_size(value: Any) -> tuple[float, float] | None:
    """Width and height of a `size` field; None unless it is two positive numbers."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, int | float) for part in value):
        return None
    return (value[0], value[1]) if min(value) > 0 else None


def frame_problem(box: Box) -> str | None:
    """Kind of finding for a box that no frame can have, or None."""
    x1, y1, x2, y2 = box
    if min(box) < 0 or max(box) > 1 or x2 < x1 or y2 < y1:
        return "box_outside"
    return "box_flat" if x1 == x2 or y1 == y2 else None


def padded(box: Box, width: float, height: float) -> Box:
    """A box in the image's own frame (0 to 1) as seen in the image padded to a centred square (0 to 1)."""
    side = max(width, height)
    left, top = (side - width) / 2 / side, (side - height) / 2 / side
    x1, y1, x2, y2 = box
    return left + x1 * width / side, top + y1 * height / side, left + x2 * width / side, top + y2 * height / side


def check_boxes(boxes: Boxes, facts: Mapping[str, ImageFacts], file: object, findings: Findings) -> None:
    """Compare boxes with their images' real sizes."""
    for each in boxes.samples:
        found = facts.get(each.image) if each.image is not None else None
        if found is None:
            continue
        for kind, example in _disagreements(each, found):
            findings.add(kind, boxes.split, f"{file} sample {each.sample}: {example}")


def _disagreements(sample: BoxSample, image: ImageFacts) -> Iterator[tuple[str, str]]:
    width, height = image.width, image.height
    if sample.size is not None and sample.size != (width, height):
        swapped = ", swapped" if sample.size == (height, width) else ""
        yield "image_size", f"size {list(sample.size)}{swapped}, the image is {width} x {height}"
    left, top, right, bottom = padded((0, 0, 1, 1), width, height)
    x1, y1, x2, y2 = sample.box
    if x1 < left - SLACK or y1 < top - SLACK or x2 > right + SLACK or y2 > bottom + SLACK:
        edges = _short(left, top, right, bottom)
        yield "box_in_padding", f"{list(sample.box)}, but the image of {width} x {height} fills {edges} of the frame"
    if sample.origin is not None and max(sample.origin) <= 1:
        wanted = padded(sample.origin, width, height)
        if max(abs(a - b) for a, b in zip(wanted, sample.box, strict=True)) > SLACK:
            yield "box_frames", f"answer_bbox {list(sample.box)}, but origin_answer_bbox becomes {_short(*wanted)}"


def _short(*numbers: float) -> list[float]:
    return [round(number, 3) for number in numbers]
