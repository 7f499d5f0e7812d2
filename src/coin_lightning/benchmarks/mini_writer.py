"""Draws the samples of one task and writes its images, instruction files and ground-truth files."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.layout import (
    IMAGES,
    Entry,
    evaluation_sample,
    instruction_path,
    train_sample,
    write_image,
    write_json,
)
from coin_lightning.benchmarks.mini_gqa import gqa_annotations
from coin_lightning.benchmarks.mini_scienceqa import problem
from coin_lightning.benchmarks.mini_suite import Task
from coin_lightning.benchmarks.mini_textvqa import textvqa_annotations

# So that no id or file name is in two splits.
_FIRST_NUMBER = {"train": 100_000, "test": 500_000, "validation": 700_000}


@dataclass
class Written:
    """Counts per split ({"rows", "pictures"}) and one sha256 over names and bytes of all images in drawing order."""

    counts: dict[str, dict[str, int]]
    images: str


def write_task(
    root: Path, task: Task, samples: dict[str, int], seed: int, materials: Materials, held_out: str = "test"
) -> Written:
    """Write one task with ``samples`` (split -> number of samples) under ``root``; no "test": only training.

    With ``held_out="validation"`` other samples, in neither split, stand where those of the test would.
    """
    digest = hashlib.sha256()
    entries: dict[str, list[Entry]] = {}
    taken: set[str] = set()  # a question without image must not stand in both splits
    for split, count in samples.items():
        drawn = held_out if split == "test" else split
        entries[split] = _entries(task, drawn, count, seed, materials, taken, Images(root, digest))
        taken |= _texts(entries[split])
        if split == "train" and "test" in samples and held_out != "test":
            taken |= _texts(_entries(task, "test", samples["test"], seed, materials, taken, Images()))
    write_json(instruction_path(root, task.folder, "train"), [train_sample(entry) for entry in entries["train"]])
    if "test" in entries:
        write_json(
            instruction_path(root, task.folder, task.evaluation), [evaluation_sample(e) for e in entries["test"]]
        )
    _write_truth(root, task, entries)
    counts = {split: {"rows": len(listed), "pictures": _images(listed)} for split, listed in entries.items()}
    return Written(counts, digest.hexdigest())


def _images(entries: list[Entry]) -> int:
    return len({entry.image for entry in entries if entry.image})


def _texts(entries: Iterable[Entry]) -> set[str]:
    return {entry.item.text for entry in entries if entry.image is None}


class Images:
    """Where images go: files below a root and into a digest, or nowhere."""

    def __init__(self, root: Path | None = None, digest: "hashlib._Hash | None" = None) -> None:
        self.root, self.digest = root, digest

    def write(self, relative: str, image: Image.Image) -> None:
        """Write one, and count its name and bytes in."""
        if self.root is not None and self.digest is not None:
            write_image(self.root, relative, image)
            self.digest.update(relative.encode() + (self.root / IMAGES / relative).read_bytes())


def _entries(
    task: Task, split: str, count: int, seed: int, materials: Materials, taken: set[str], images: Images
) -> list[Entry]:
    entries: list[Entry] = []
    index = -1
    while len(entries) < count:
        index += 1
        sample = task.draw(Random(f"{seed}/{task.key}/{split}/{index}"), materials, split, index)
        items = sample.items[: count - len(entries)]
        if not items or (sample.image is None and items[0].text in taken):
            continue
        number = _FIRST_NUMBER[split] + index
        relative = None
        if sample.image is not None:
            relative = task.image_path(split, number)
            images.write(relative, sample.image)
        entries += [Entry(_question_id(task, number, i, relative), relative, item) for i, item in enumerate(items)]
    Random(f"{seed}/{task.key}/{split}/order").shuffle(entries)
    return entries


def _question_id(task: Task, number: int, place: int, image: str | None) -> str | int:
    if task.key == "scienceqa":  # one question per problem, whose id it is
        return str(number)
    if task.key == "imagenet":  # CoIN takes the file name
        return str(image).rsplit("/", 1)[-1]
    return number * 10 + place if task.whole_number_ids else f"{number}{place}"


def _write_truth(root: Path, task: Task, entries: dict[str, list[Entry]]) -> None:
    folder = root / IMAGES / task.folder
    if task.key == "scienceqa":
        problems = {str(entry.question_id): problem(entry) for listed in entries.values() for entry in listed}
        write_json(folder / "problems.json", problems)
        splits = {split: [str(entry.question_id) for entry in listed] for split, listed in entries.items()}
        write_json(folder / "pid_splits.json", {"train": splits["train"], "val": [], "test": splits["test"]})
    elif task.key == "textvqa":
        write_json(folder / "TextVQA_0.5.1_val.json", textvqa_annotations(entries["test"]))
    elif task.key == "gqa":
        write_json(folder / "testdev_balanced_questions.json", gqa_annotations(entries["test"]))
