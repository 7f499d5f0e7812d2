"""The counterpart of CoIN's Grounding: the box of a described thing, in the frame of the picture padded to a square."""

from collections.abc import Sequence
from random import Random

from coin_lightning.benchmarks.drawing import SIZES, Materials
from coin_lightning.benchmarks.layout import Item, Sample
from coin_lightning.benchmarks.mini_scenes import Box, compose, pick_things

BOX_PROMPT = "Please provide the bounding box coordinate of the region this sentence describes: {}."


def grounding(rng: Random, materials: Materials, split: str, index: int) -> Sample:
    """One to three large things, each asked for by name, by colour or, of two alike, by side."""
    size = rng.choice(SIZES[:6])  # never square: the padded frame is to matter
    count = rng.choice((1, 1, 2, 2, 2, 3))
    twins = count == 2 and rng.random() < 0.35
    things = pick_things(rng, 1 if twins else count, rng.choice((0, 1)))
    image, placed = compose(rng, materials, things * 2 if twins else things, (42, 62) if count < 3 else (36, 48), size)
    if twins and abs(placed[0].centre[0] - placed[1].centre[0]) < 24:
        placed = []
    items = []
    for spot in placed:
        phrase = spot.thing.phrase
        if twins:
            leftmost = min(placed, key=lambda other: other.centre[0])
            phrase = f"{'left' if spot is leftmost else 'right'} {phrase}"
        items.append(box_item(f"the {phrase}", spot.box, size))
    return Sample(image, items)


def box_item(expression: str, box: Box, size: tuple[int, int]) -> Item:
    """A referring expression with its box in both of CoIN's frames."""
    padded = format_box(padded_box(box, size))
    origin = format_box([box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]])
    truth = {"answer_bbox": padded, "origin_answer_bbox": origin, "size": list(size)}
    return Item(BOX_PROMPT.format(expression), padded, truth)


def padded_box(box: Box, size: tuple[int, int]) -> list[float]:
    """The box in the frame of the picture padded to a square about its centre, as shares of the longer side (0-1)."""
    side = max(size)
    shift = ((side - size[0]) // 2, (side - size[1]) // 2)
    return [(value + shift[i % 2]) / side for i, value in enumerate(box)]


def format_box(box: Sequence[float]) -> str:
    """``[0.01,0.45,0.3,0.0]``: two decimals, trailing zeros dropped, no spaces, as CoIN writes boxes."""
    return "[" + ",".join(str(round(value, 2)) for value in box) + "]"
