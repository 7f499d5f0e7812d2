"""The first part of stage 1: the projector learns to say, for each cell of an image, the words for what is there.

Captions alone teach it slowly: most of their loss lies in words that need no image. Here a scene's boxes are known, so
each token that falls on a thing has a target, the mean embedding of the words that name it. No language model runs.
"""

import hashlib
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from coin_lightning.backbones.base import Backbone
from coin_lightning.benchmarks.drawing import SIZES, Materials, sign
from coin_lightning.benchmarks.mini_ocrvqa import cover, film_of
from coin_lightning.benchmarks.mini_scenes import Box, compose
from coin_lightning.benchmarks.mini_textvqa import WORDS
from coin_lightning.benchmarks.mini_vizwiz import slightly
from coin_lightning.benchmarks.vocabulary import COLOURED, THINGS
from coin_lightning.schedules import cosine
from coin_lightning.tasks.subsets import chunks

Labelled = tuple[Image.Image, list[tuple[str, Box]]]
_SIGNS = ("red", "blue", "green", "yellow", "white", "black", "orange")


def scene(rng: Random, materials: Materials, index: int) -> Labelled:
    """An image and (words, pixel box) of what it shows: one to four things, signs, or a cover."""
    kind = index % 8
    if kind == 6:
        return _signs(rng, materials)
    if kind == 7:
        return _cover(rng, materials, index)
    count = (1, 1, 1, 2, 3, 4)[kind]
    everything = THINGS + COLOURED
    things = [everything[(index * 37 + 61 * place + rng.randint(0, 2)) % len(everything)] for place in range(count)]
    shares = ((45, 92), (36, 60), (30, 46), (28, 40))[count - 1]
    image, placed = compose(rng, materials, things, shares, rng.choice(SIZES), tilt=rng.choice((0, 0, 15, 40)))
    if rng.random() < 0.3:
        image = slightly(rng, image)
    return image, [(spot.thing.phrase, spot.box) for spot in placed]


def draw(recipe: dict[str, Any], materials: Materials, index: int) -> Labelled:
    """Scene number `index` of a recipe."""
    return scene(Random(f"stage1/{recipe['seed']}/cells/{index}"), materials, index)


def _signs(rng: Random, materials: Materials) -> Labelled:
    size = rng.choice(SIZES)
    image = materials.photo_crop(rng, size, (128, 128, 128), rng.randint(0, 30))
    count = rng.choice((1, 2, 3))
    band, named = size[1] // count, []
    for row, colour in enumerate(rng.sample(_SIGNS, count)):
        word = rng.choice(WORDS)
        height = min(band - 8, rng.randint(38, 70))
        width = size[0] * rng.randint(60, 94) // 100
        left, top = rng.randint(3, size[0] - width - 3), row * band + rng.randint(2, band - height - 4)
        box = (left, top, left + width, top + height)
        sign(image, word.upper() if rng.random() < 0.7 else word.title(), box, colour, rng)
        named.append((f"{colour} sign {word}", box))
    return image, named


def _cover(rng: Random, materials: Materials, index: int) -> Labelled:
    film = film_of(materials, "caption", index // 8)
    image = cover(rng, materials, film)
    third = image.height // 3
    genre = {"Sci-Fi": "science fiction"}.get(film.genre, film.genre.lower())
    named = [(film.title, (0, 0, image.width, third)), (f"{genre} book", (0, third, image.width, 2 * third))]
    return image, [*named, (f"{film.director} {film.year}", (0, 2 * third, image.width, image.height))]


def cell_labels(size: tuple[int, int], boxes: Sequence[Box], grid: int) -> list[int]:
    """Which box each of `grid * grid` cells (row by row) of the image padded to a square shows.

    A cell belongs to the box that covers most of it, if that is at least a third of the cell; else -1.
    """
    side = max(size)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    cell = side / grid
    labels = []
    for row in range(grid):
        for column in range(grid):
            frame = (column * cell - left, row * cell - top, (column + 1) * cell - left, (row + 1) * cell - top)
            shares = [_overlap(frame, box) / cell**2 for box in boxes]
            best = max(range(len(boxes)), key=shares.__getitem__, default=-1)
            labels.append(best if best >= 0 and shares[best] >= 1 / 3 else -1)
    return labels


def _overlap(a: tuple[float, ...], b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


class Words:
    """Targets by words: the mean embedding of their tokens, `[width]`; kept, each once, in a table."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.places, self.rows = backbone, dict[str, int](), list[Tensor]()

    def place(self, words: str) -> int:
        """Row of these words in `table`."""
        if words not in self.places:
            ids = self.backbone.tokenizer(f" {words}", add_special_tokens=False)["input_ids"]
            self.rows.append(self.backbone.model.get_input_embeddings().weight.detach()[ids].float().mean(0))
            self.places[words] = len(self.places)
        return self.places[words]

    @property
    def table(self) -> Tensor:
        """`[words, width]`."""
        return torch.stack(self.rows)


def collect(backbone: Backbone, recipe: dict[str, Any], words: Words) -> tuple[Tensor, Tensor]:
    """Features `[n, width]` and target rows `[n]` of all labelled cells, and of some that show nothing."""
    materials, features, targets = Materials(), list[Tensor](), list[Tensor]()
    empty = words.place("background")
    for part in chunks(range(recipe["scenes"]), 32):
        drawn = [draw(recipe, materials, index) for index in part]
        tokens = backbone.encode_images([backbone.pixels(image, "pad") for image, _ in drawn])
        for (image, named), seen in zip(drawn, tokens, strict=True):
            grid = round(len(seen) ** 0.5)
            labels = torch.tensor(cell_labels(image.size, [box for _, box in named], grid))
            rows = torch.tensor([words.place(name) for name, _ in named] + [empty])[labels]
            kept = labels >= 0
            kept[torch.nonzero(~kept).flatten()[:: max(1, grid)]] = True  # a few of the background
            features.append(seen[kept])
            targets.append(rows[kept])
        if part[0] % 1600 == 0:
            print(f"scene {part[0]}/{recipe['scenes']}", flush=True)
    return torch.cat(features), torch.cat(targets)


def fit(projector: nn.Module, features: Tensor, targets: Tensor, table: Tensor, recipe: dict[str, Any]) -> None:
    """Squared distance to the target, in units of the table's variance, and telling it from the batch's others."""
    generator = torch.Generator().manual_seed(recipe["seed"])
    optimizer = torch.optim.AdamW(
        projector.parameters(), lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"]
    )
    size, epochs = recipe["batch_size"], recipe["epochs"]
    schedule = cosine(optimizer, epochs * (len(features) // size), 0.03)
    scale, unit, started = table.var(), F.normalize(table - table.mean(0), dim=-1), time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(features), generator=generator)
        for picked in order[: len(order) // size * size].view(-1, size):
            given = projector(features[picked].float())
            present, which = targets[picked].unique(return_inverse=True)
            near = F.mse_loss(given, table[targets[picked]]) / scale
            likeness = F.normalize(given - table.mean(0), dim=-1) @ unit[present].T
            loss = near + F.cross_entropy(likeness / 0.07, which)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(
            f"epoch {epoch + 1}: loss {total / (len(order) // size):.3f}, {time.monotonic() - started:.0f} s",
            flush=True,
        )


def learn(backbone: Backbone, projector: nn.Module, recipe: dict[str, Any]) -> float:
    """Draw the scenes and fit the projector in place; gives `named_right` on the last tenth, which was not learned."""
    words = Words(backbone)
    features, targets = collect(backbone, recipe, words)
    learned = len(features) * 9 // 10
    fit(projector, features[:learned], targets[:learned], words.table, recipe)
    return named_right(projector, features[learned:], targets[learned:], words.table)


def first_scenes_sha256(recipe: dict[str, Any], count: int = 16) -> str:
    """One sha256 over pixels and labels of the first scenes: it tells whether today's code draws what was learned."""
    digest, materials = hashlib.sha256(), Materials()
    for index in range(count):
        image, named = draw(recipe, materials, index)
        digest.update(image.tobytes() + repr(named).encode())
    return digest.hexdigest()


@torch.no_grad()
def named_right(projector: nn.Module, features: Tensor, targets: Tensor, table: Tensor) -> float:
    """Share of cells on something whose output is nearest, by cosine, to the right one of all words."""
    kept = targets != 0
    given = F.normalize(projector(features[kept].float()) - table.mean(0), dim=-1)
    found = (given @ F.normalize(table - table.mean(0), dim=-1).T).argmax(-1)
    return float((found == targets[kept]).float().mean())
