"""Composed scenes with known boxes, from which relations, counts and box questions are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageOps

from coin_lightning.benchmarks.drawing import Materials, paste, turned
from coin_lightning.benchmarks.vocabulary import CLASSES, COLOURED, COUNTABLE, Thing

Box = tuple[int, int, int, int]
COUNTABLE_CLASSES = tuple(thing for thing in CLASSES if thing in COUNTABLE)


@dataclass(frozen=True)
class Placed:
    """A thing in an image with its pixel box."""

    thing: Thing
    box: Box

    @property
    def centre(self) -> tuple[int, int]:
        return (self.box[0] + self.box[2]) // 2, (self.box[1] + self.box[3]) // 2


def compose(
    rng: Random,
    materials: Materials,
    things: Sequence[Thing],
    shares: tuple[int, int],
    size: tuple[int, int],
    tilt: int = 0,
) -> tuple[Image.Image, list[Placed]]:
    """Put things side by side without overlap, ``shares`` percent of the short side long (less if they must).

    With ``tilt`` each is turned by up to so many degrees and perhaps mirrored (but for books, which bear a number).
    """
    image = materials.background(rng, size)
    for shrink in range(100, 20, -5):
        sides = [min(size) * rng.randint(*shares) * shrink // 10_000 for _ in things]
        glyphs = [materials.glyph(thing.char, side) for thing, side in zip(things, sides, strict=True)]
        if tilt:
            glyphs = [_tilted(rng, glyph, thing, tilt) for glyph, thing in zip(glyphs, things, strict=True)]
        boxes = _spread(rng, [glyph.size for glyph in glyphs], size)
        if boxes:
            placed = [Placed(thing, box) for thing, box in zip(things, boxes, strict=True)]
            for glyph, box in zip(glyphs, boxes, strict=True):
                paste(image, glyph, box[0], box[1])
            return image, placed
    raise AssertionError(f"{len(things)} things do not fit into {size}")  # never: a fifth of the size always fits


def _tilted(rng: Random, glyph: Image.Image, thing: Thing, tilt: int) -> Image.Image:
    mirrored = rng.random() < 0.5 and thing.name != "book"
    return turned(ImageOps.mirror(glyph) if mirrored else glyph, rng.randint(-tilt, tilt))


def _spread(rng: Random, glyphs: Sequence[tuple[int, int]], size: tuple[int, int]) -> list[Box]:
    if any(width + 4 > size[0] or height + 4 > size[1] for width, height in glyphs):
        return []
    for _ in range(60):
        boxes: list[Box] = []
        for width, height in glyphs:
            left, top = rng.randint(2, size[0] - width - 2), rng.randint(2, size[1] - height - 2)
            box = (left, top, left + width, top + height)
            if any(_touch(box, other) for other in boxes):
                break
            boxes.append(box)
        if len(boxes) == len(glyphs):
            return boxes
    return []


def _touch(a: Box, b: Box, gap: int = 4) -> bool:
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def pick_things(rng: Random, count: int, coloured: int) -> list[Thing]:
    """Things with pairwise different names, up to ``coloured`` of them shapes or books of a known colour."""
    picked: list[Thing] = []
    while len(picked) < count:
        thing = rng.choice(COLOURED if len(picked) < coloured else COUNTABLE_CLASSES)
        if thing.name not in {other.name for other in picked}:
            picked.append(thing)
    rng.shuffle(picked)
    return picked
