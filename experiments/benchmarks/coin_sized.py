"""A training file as large as CoIN's eight together, in the same proportions, with images that are hard links."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

PARTS = {
    "ScienceQA": (12_726, 1, 60), "TextVQA": (34_602, 1, 9), "ImageNet": (129_833, 1, 7), "GQA": (72_140, 13, 9),
    "VizWiz": (20_000, 1, 8), "Grounding": (55_885, 6, 10), "VQAv2": (82_783, 5, 7), "OCR-VQA": (166_043, 5, 8),
}  # fmt: skip
"""Training samples (`published_numbers.md` section 1.1), mean turns per sample (its questions / samples), words per
question. Samples are drawn in these proportions."""
WORDS = (
    "what", "is", "the", "color", "of", "man", "woman", "dog", "table", "on", "left", "right", "behind", "near",
    "large", "small", "standing", "wearing", "title", "book", "who", "wrote", "how", "many", "people", "are", "there",
    "does", "this", "appear", "to", "be", "wooden", "metal", "shirt", "car",
)  # fmt: skip
ANSWERS = ("yes", "no", "2", "left", "blue shirt", "wooden", "[0.12,0.34,0.56,0.78]", "Bernese mountain dog")
SUFFIX = "Answer the question using a single word or phrase."
LINKS = 1000
"""Hard links to one file: file systems limit them."""


def images(folder: Path, count: int) -> list[str]:
    """`count` paths below `folder`, hard links to a few small JPEG files."""
    paths = []
    for number in range(count):
        name = f"COCO2014/train2014/COCO_train2014_{number:012d}.jpg"
        file = folder / name
        if number % LINKS == 0:
            file.parent.mkdir(parents=True, exist_ok=True)
            base = file
            Image.new("RGB", (48, 32), (number // LINKS % 256, 90, 30)).save(base)
        else:
            os.link(base, file)
        paths.append(name)
    return paths


def samples(count: int, paths: list[str], seed: int = 0) -> Iterator[dict[str, Any]]:
    """So many training samples: multi-turn where CoIN's are, some without image, one text in thirty not ASCII."""
    draw = random.Random(seed)
    names, weights = list(PARTS), [size for size, _, _ in PARTS.values()]
    for number in range(count):
        name = draw.choices(names, weights)[0]
        _, turns, words = PARTS[name]
        wanted = 1 if turns == 1 else 1 + min(39, int(draw.expovariate(1 / (turns - 0.5))))
        sample: dict[str, Any] = {"id": f"{name}_{number:07d}"}
        if name != "ScienceQA" or number % 2:
            sample["image"] = f"./{draw.choice(paths)}"
        sample["conversations"] = _talk(draw, wanted, words, "image" in sample)
        yield sample


def _talk(draw: random.Random, turns: int, words: int, shown: bool) -> list[dict[str, str]]:
    parts = []
    for turn in range(turns):
        text = " ".join(draw.choices(WORDS, k=words)) + ("é?" if draw.random() < 1 / 30 else "?")
        question = ("<image>\n" if shown and turn == 0 else "") + text + (f"\n{SUFFIX}" if turn == 0 else "")
        parts += [{"from": "human", "value": question}, {"from": "gpt", "value": draw.choice(ANSWERS)}]
    return parts


def write(root: Path, count: int, distinct: int) -> Path:
    """A task folder `GQA` below `root` with `count` training samples on `distinct` images, and 100 test samples.

    Returns the training file.
    """
    folder = root / "Instructions_Original" / "GQA"
    folder.mkdir(parents=True)
    paths = images(root / "cl_dataset", distinct)
    with (folder / "train.json").open("w", encoding="utf-8") as stream:
        for number, sample in enumerate(samples(count, paths)):
            stream.write((",\n" if number else "[") + json.dumps(sample, ensure_ascii=False))
        stream.write("]\n")
    tests = [
        {"question_id": number, "image": paths[number % distinct], "text": f"Why?\n{SUFFIX}", "answer": "no"}
        for number in range(100)
    ]
    (folder / "test.json").write_text(json.dumps(tests))
    return folder / "train.json"
