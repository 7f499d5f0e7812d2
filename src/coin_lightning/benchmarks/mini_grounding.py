"""The counterpart of CoIN's Grounding: the box of a described thing, in the frame of the image padded to a square."""

from random import Random

from PIL import Image

from coin_lightning.benchmarks.coin.frames import format_box, original_box, padded_box
from coin_lightning.benchmarks.drawing import SIZES, Materials, paste
from coin_lightning.benchmarks.layout import ImageItems, Item
from coin_lightning.benchmarks.mini_scenes import Box, Placed, pick_things
from coin_lightning.benchmarks.vocabulary import Thing

_PLACES = ("top left", "top right", "bottom left", "bottom right")
BOX_PROMPT = "Please provide the bounding box coordinate of the region this sentence describes: {}."


def grounding(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """One to three things, each in a quarter of its own. As RefCOCO's expressions do, more than half say where."""
    size = rng.choice(SIZES[:6])  # never square: the padded frame is to matter
    count = rng.choice((1, 2, 2, 3))
    twins = count == 2 and rng.random() < 0.35
    things = pick_things(rng, 1, rng.choice((0, 1))) * 2 if twins else pick_things(rng, count, rng.choice((0, 1)))
    quarters = [rng.choice((0, 2)), rng.choice((1, 3))] if twins else rng.sample(range(4), count)
    image = materials.background(rng, size)
    placed = [_put(rng, materials, image, thing, quarter) for thing, quarter in zip(things, quarters, strict=True)]
    if twins:
        phrases = [f"{side} {spot.thing.phrase}" for side, spot in zip(("left", "right"), placed, strict=True)]
    else:
        phrases = [
            f"{spot.thing.phrase} at the {_PLACES[quarter]}" if rng.random() < 0.6 else spot.thing.phrase
            for spot, quarter in zip(placed, quarters, strict=True)
        ]
    return ImageItems(
        image, [box_item(f"the {phrase}", spot.box, size) for phrase, spot in zip(phrases, placed, strict=True)]
    )


def _put(rng: Random, materials: Materials, image: Image.Image, thing: Thing, quarter: int) -> Placed:
    """Nearly fill a quarter (0 and 1 above, 2 and 3 below), around its middle; the box is the thing's own."""
    room = image.width // 2, image.height // 2
    glyph = materials.glyph(thing.char, min(room) * rng.randint(84, 97) // 100)
    left, top = (_near_middle(rng, room[axis], glyph.size[axis]) for axis in (0, 1))
    left, top = left + quarter % 2 * room[0], top + quarter // 2 * room[1]
    paste(image, glyph, left, top)
    return Placed(thing, (left, top, left + glyph.width, top + glyph.height))


def _near_middle(rng: Random, room: int, length: int) -> int:
    slack = room - length
    return rng.randint(slack // 3, slack - slack // 3)


def box_item(expression: str, box: Box, size: tuple[int, int]) -> Item:
    """A referring expression with its box in both of CoIN's frames."""
    padded, origin = format_box(padded_box(box, size)), format_box(original_box(box, size))
    truth = {"answer_bbox": padded, "origin_answer_bbox": origin, "size": list(size)}
    return Item(BOX_PROMPT.format(expression), padded, truth)
