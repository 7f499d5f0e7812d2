"""The counterpart of VQAv2: easy-VQA's published questions on its own images, and counting on composed scenes."""

import json
from functools import cache
from pathlib import Path
from random import Random

from PIL import Image

from coin_lightning.benchmarks.drawing import SIZES, Materials
from coin_lightning.benchmarks.layout import ImageItems, Item, short
from coin_lightning.benchmarks.mini_scenes import compose, pick_things
from coin_lightning.benchmarks.vocabulary import IN_PHOTOS, Thing, plural


def vqav2(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """Every other image is easy-VQA's, the others are for counting.

    The published split is kept; images for validation come from the end of the published training images.
    """
    if index % 2 == 0:
        folder, place = materials.easy_vqa / ("test" if split == "test" else "train"), index // 2
        return _published(rng, folder, -1 - place if split == "validation" else place)
    return _counting(rng, materials)


@cache
def _questions(folder: Path) -> dict[int, list[tuple[str, str]]]:
    by_image: dict[int, list[tuple[str, str]]] = {}
    for question, answer, image in json.loads((folder / "questions.json").read_text()):
        by_image.setdefault(image, []).append((question, answer))
    return by_image


def _published(rng: Random, folder: Path, index: int) -> ImageItems:
    """One yes/no and up to two other questions of a published image, which is enlarged to 192 pixels."""
    questions = _questions(folder)
    with Image.open(folder / "images" / f"{index % len(questions)}.png") as opened:
        image = opened.convert("RGB").resize((192, 192), Image.Resampling.NEAREST)
    pairs = questions[index % len(questions)]
    closed = [pair for pair in pairs if pair[1] in ("yes", "no")]
    opened_ended = [pair for pair in pairs if pair[1] not in ("yes", "no")]
    chosen = rng.sample(closed, min(2, len(closed))) + rng.sample(opened_ended, min(2, len(opened_ended)))
    return ImageItems(image, [Item(short(question), answer) for question, answer in chosen])


def _counting(rng: Random, materials: Materials) -> ImageItems:
    """Up to five things of one kind, perhaps a few of another; how many, and is there one."""
    first, second = _two_kinds(rng)
    count, other = rng.randint(1, 5), rng.choice((0, 0, 1, 2))
    things = [first] * count + [second] * other
    image, _ = compose(rng, materials, things, (30, 40), rng.choice(SIZES))
    items = [_how_many(first.name, count)]
    if other:
        items.append(_how_many(second.name, other))
    else:
        true = rng.random() < 0.5
        asked = first.name if true else second.name
        items.append(Item(short(f"Are there any {plural(asked)}?"), "yes" if true else "no"))
    return ImageItems(image, items)


def _two_kinds(rng: Random) -> list[Thing]:
    while True:
        kinds = pick_things(rng, 2, 0)
        if not IN_PHOTOS & {thing.name for thing in kinds}:
            return kinds


def _how_many(name: str, count: int) -> Item:
    return Item(short(f"How many {plural(name)} are there?"), str(count))
