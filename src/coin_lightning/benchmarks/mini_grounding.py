"""The counterpart of CoIN's Grounding: the box of a described thing, in the frame of the image padded to a square."""

from random import Random

from coin_lightning.benchmarks.coin.frames import format_box, original_box, padded_box
from coin_lightning.benchmarks.drawing import SIZES, Materials
from coin_lightning.benchmarks.layout import ImageItems, Item
from coin_lightning.benchmarks.mini_scenes import Box, compose, pick_things

BOX_PROMPT = "Please provide the bounding box coordinate of the region this sentence describes: {}."


def grounding(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """One or two large things, each asked for by name, by colour or, of two alike, by side."""
    size = rng.choice(SIZES[:6])  # never square: the padded frame is to matter
    count = rng.choice((1, 1, 2, 2, 2))
    twins = count == 2 and rng.random() < 0.35
    things = pick_things(rng, 1 if twins else count, rng.choice((0, 1)))
    image, placed = compose(rng, materials, things * 2 if twins else things, (50, 76) if count == 1 else (46, 66), size)
    if twins and abs(placed[0].centre[0] - placed[1].centre[0]) < 24:
        placed = []
    items = []
    for spot in placed:
        phrase = spot.thing.phrase
        if twins:
            leftmost = min(placed, key=lambda other: other.centre[0])
            phrase = f"{'left' if spot is leftmost else 'right'} {phrase}"
        items.append(box_item(f"the {phrase}", spot.box, size))
    return ImageItems(image, items)


def box_item(expression: str, box: Box, size: tuple[int, int]) -> Item:
    """A referring expression with its box in both of CoIN's frames."""
    padded, origin = format_box(padded_box(box, size)), format_box(original_box(box, size))
    truth = {"answer_bbox": padded, "origin_answer_bbox": origin, "size": list(size)}
    return Item(BOX_PROMPT.format(expression), padded, truth)
