"""The counterpart of CoIN's ImageNet part: name the one object in the image (66 class names)."""

from random import Random

from PIL import Image, ImageOps

from coin_lightning.benchmarks.drawing import SIZES, Materials, paste, turned
from coin_lightning.benchmarks.layout import ImageItems, Item, short
from coin_lightning.benchmarks.vocabulary import CLASSES, Thing

QUESTION = "What is the object in the image?"


def imagenet(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """One object of the classes in turn (so that they are balanced), turned, mirrored, anywhere, on any background."""
    thing = CLASSES[index % len(CLASSES)]
    image = one_object(rng, materials, thing, rng.choice(SIZES), (50, 86), 25)
    return ImageItems(image, [Item(short(QUESTION), thing.name.capitalize())])


def one_object(
    rng: Random, materials: Materials, thing: Thing, size: tuple[int, int], shares: tuple[int, int], tilt: int
) -> Image.Image:
    """An image of ``thing`` at ``shares`` percent of the short side, tilted by up to ``tilt`` degrees."""
    image = materials.background(rng, size)
    glyph = materials.glyph(thing.char, min(size) * rng.randint(*shares) // 100)
    if rng.random() < 0.5 and thing.name != "book":  # the books bear a number
        glyph = ImageOps.mirror(glyph)
    glyph = turned(glyph, rng.randint(-tilt, tilt))
    left = rng.randint(0, max(0, size[0] - glyph.width))
    top = rng.randint(0, max(0, size[1] - glyph.height))
    paste(image, glyph, left, top)
    return image
