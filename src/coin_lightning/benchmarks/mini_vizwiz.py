"""The counterpart of VizWiz: images as a blind photographer may take them, some too poor to answer from."""

from collections.abc import Callable
from random import Random

from PIL import Image, ImageFilter

from coin_lightning.benchmarks.drawing import SIZES, Materials, sign, veiled
from coin_lightning.benchmarks.layout import SHORT_ANSWER, ImageItems, Item
from coin_lightning.benchmarks.mini_imagenet import one_object
from coin_lightning.benchmarks.mini_textvqa import WORDS
from coin_lightning.benchmarks.vocabulary import CLASSES, COLOURED

UNANSWERABLE = "Unanswerable"
HINT = "When the provided information is insufficient, respond with 'Unanswerable'."
_NAMING = ("What is this?", "What is in this picture?", "Can you tell me what this is?", "What object is this?")
_COLOUR = ("What color is this?", "What color is this {}?", "Can you tell me the color of this {}?")
_READING = ("What does this say?", "What does the label say?", "What is written here?")


def vizwiz(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """A thing, a colour or a label in a degraded image, answerable in three of four cases."""
    make = rng.choice((_thing, _thing, _colour, _label))
    image, question, answer, naming = make(rng, materials)
    answerable = rng.random() < 0.75
    image = slightly(rng, image) if answerable else badly(rng, image, keeps_colour=make is not _colour)
    items = [_item(question, answer if answerable else UNANSWERABLE)]
    if rng.random() < 0.5 and naming:
        if not answerable:
            items.append(_item(rng.choice(_NAMING), UNANSWERABLE))
        elif rng.random() < 0.3:  # a fair image, but nothing written in it
            items.append(_item(rng.choice(_READING), UNANSWERABLE))
    return ImageItems(image, items)


def _item(question: str, answer: str) -> Item:
    return Item(f"{question}\n{HINT}\n{SHORT_ANSWER}", answer)


def _thing(rng: Random, materials: Materials) -> tuple[Image.Image, str, str, bool]:
    thing = rng.choice(CLASSES)
    return one_object(rng, materials, thing, rng.choice(SIZES), (60, 95), 40), rng.choice(_NAMING), thing.name, True


def _colour(rng: Random, materials: Materials) -> tuple[Image.Image, str, str, bool]:
    thing = rng.choice(COLOURED)
    image = one_object(rng, materials, thing, rng.choice(SIZES), (60, 95), 40)
    return image, rng.choice(_COLOUR).format(thing.name), thing.colour, True


def _label(rng: Random, materials: Materials) -> tuple[Image.Image, str, str, bool]:
    size = rng.choice(SIZES)
    image = materials.background(rng, size)
    word = rng.choice(WORDS)
    height = rng.randint(56, 90)
    top = rng.randint(4, size[1] - height - 4)
    colour = rng.choice(("white", "yellow", "red", "blue"))
    sign(image, word.upper(), (8, top, size[0] - 8, top + height), colour, rng)
    return image, rng.choice(_READING), word, False


def slightly(rng: Random, image: Image.Image) -> Image.Image:
    """A fault that leaves the content plain: some blur, a dim or bright exposure."""
    return _apply(rng, image, (_blur(1, 2), _expose(45, 75), _expose(120, 150), _expose(100, 100)))


def badly(rng: Random, image: Image.Image, keeps_colour: bool = True) -> Image.Image:
    """A fault that hides all: near darkness, glare, a finger before the lens or, if colour may stay, strong blur."""
    faults: tuple[Fault, ...] = (_expose(2, 5), _glare, _finger)
    return _apply(rng, image, (*faults, _blur(22, 34)) if keeps_colour else faults)


Fault = Callable[[Random, Image.Image], Image.Image]


def _apply(rng: Random, image: Image.Image, faults: tuple[Fault, ...]) -> Image.Image:
    return rng.choice(faults)(rng, image)


def _blur(low: int, high: int) -> Fault:
    # Three box blurs of whole radius: Pillow does these in integers, unlike its Gaussian's fractional radii.
    def fault(rng: Random, image: Image.Image) -> Image.Image:
        radius = rng.randint(low, high)
        for _ in range(3):
            image = image.filter(ImageFilter.BoxBlur(radius))
        return image

    return fault


def _expose(low: int, high: int) -> Fault:
    def fault(rng: Random, image: Image.Image) -> Image.Image:
        percent = rng.randint(low, high)
        return image.point([min(255, value * percent // 100) for value in range(256)] * 3)

    return fault


def _glare(rng: Random, image: Image.Image) -> Image.Image:
    lift = rng.randint(244, 251)
    return image.point([min(255, lift + value * (255 - lift) // 400) for value in range(256)] * 3)


def _finger(rng: Random, image: Image.Image) -> Image.Image:
    skin = rng.choice(((196, 140, 112), (150, 98, 74), (96, 62, 46), (226, 176, 150)))
    return veiled(_blur(20, 28)(rng, image), skin, rng.randint(84, 92))
