"""Captions for aligning the projector (LLaVA's stage 1): other images and other wording than the eight tasks'."""

from random import Random

from PIL import Image

from coin_lightning.benchmarks.drawing import SIZES, Materials, sign
from coin_lightning.benchmarks.layout import ImageItems, Item
from coin_lightning.benchmarks.mini_imagenet import one_object
from coin_lightning.benchmarks.mini_ocrvqa import cover, film_of
from coin_lightning.benchmarks.mini_scenes import compose
from coin_lightning.benchmarks.mini_textvqa import WORDS
from coin_lightning.benchmarks.vocabulary import COLOURED, COUNTABLE, THINGS, Thing, plural, with_article

# LLaVA's stage-1 requests in our own words.
REQUESTS = (
    "Describe the image briefly.",
    "Give a short account of the picture.",
    "Summarize what can be seen.",
    "Provide a brief caption.",
    "Write one sentence about the image.",
)
_NUMBERS = ("zero", "one", "two", "three", "four", "five")


def captions(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """One image and its sentence: single things, pairs, groups, signs, covers."""
    makers = (_single, _single, _single, _pair, _pair, _group, _sign, _cover)
    image, sentence = makers[index % len(makers)](rng, materials, index)
    return ImageItems(image, [Item(rng.choice(REQUESTS), sentence)])


def _any_thing(rng: Random, index: int) -> Thing:
    everything = THINGS + COLOURED
    return everything[(index * 37 + rng.randint(0, 2)) % len(everything)]


def _single(rng: Random, materials: Materials, index: int) -> tuple[Image.Image, str]:
    thing = _any_thing(rng, index)
    image = one_object(rng, materials, thing, rng.choice(SIZES), (45, 90), 15)
    return image, f"{_capital(with_article(thing.phrase))}."


def _pair(rng: Random, materials: Materials, index: int) -> tuple[Image.Image, str]:
    things = [_any_thing(rng, index), rng.choice(THINGS + COLOURED)]
    image, placed = compose(rng, materials, things, (38, 52), rng.choice(SIZES))
    dx = abs(placed[0].centre[0] - placed[1].centre[0])
    dy = abs(placed[0].centre[1] - placed[1].centre[1])
    axis = 0 if dx >= dy else 1
    first, second = sorted(placed, key=lambda spot: spot.centre[axis])
    names = with_article(first.thing.phrase), with_article(second.thing.phrase)
    if axis == 0:
        return image, f"{_capital(names[0])} on the left and {names[1]} on the right."
    return image, f"{_capital(names[0])} at the top and {names[1]} at the bottom."


def _group(rng: Random, materials: Materials, index: int) -> tuple[Image.Image, str]:
    thing = COUNTABLE[(index * 5 + rng.randint(0, 2)) % len(COUNTABLE)]
    count = rng.randint(1, 5)
    image, _ = compose(rng, materials, [thing] * count, (30, 42), rng.choice(SIZES))
    return image, f"{_capital(_NUMBERS[count])} {plural(thing.name) if count > 1 else thing.name}."


def _sign(rng: Random, materials: Materials, index: int) -> tuple[Image.Image, str]:
    size = rng.choice(SIZES)
    image = materials.photo_crop(rng, size, (128, 128, 128), rng.randint(0, 30))
    colour = rng.choice(("red", "blue", "green", "yellow", "white", "black", "orange"))
    word = rng.choice(WORDS).upper()
    top = rng.randint(4, size[1] - 80)
    sign(image, word, (8, top, size[0] - 8, top + rng.randint(44, 74)), colour, rng)
    return image, f'{_capital(with_article(colour))} sign with the word "{word}".'


def _cover(rng: Random, materials: Materials, index: int) -> tuple[Image.Image, str]:
    film = film_of(materials, "caption", index // 8)
    kind = {"Sci-Fi": "science fiction"}.get(film.genre, film.genre.lower())
    return cover(rng, materials, film), f'The cover of {with_article(kind)} book, "{film.title}" by {film.director}.'


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
