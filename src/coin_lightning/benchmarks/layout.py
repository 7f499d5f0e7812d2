"""CoIN's on-disk layout: where images and instruction files lie, and what a sample holds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

SHORT_ANSWER = "Answer the question using a single word or phrase."
LETTER_ANSWER = "Answer with the option's letter from the given choices directly."
IMAGES = "cl_dataset"
INSTRUCTIONS = "Instructions_Original"


@dataclass
class Item:
    """One question about an image: the full instruction ``text``, the ``answer``, and what ground-truth files need."""

    text: str
    answer: str
    truth: dict[str, Any] = field(default_factory=dict)


@dataclass
class ImageItems:
    """An image (RGB, or None for a question without one) and the questions asked about it."""

    image: Image.Image | None
    items: list[Item]


@dataclass(frozen=True)
class Entry:
    """An item with its identity on disk; ``image`` is the path relative to the image root, with a leading ``./``."""

    question_id: str | int
    image: str | None
    item: Item


def short(question: str) -> str:
    """The question with CoIN's short-answer line."""
    return f"{question}\n{SHORT_ANSWER}"


def train_sample(entry: Entry) -> dict[str, Any]:
    """A LLaVA conversation sample; the ``<image>`` token stands only where there is an image."""
    prefix = "" if entry.image is None else "<image>\n"
    sample: dict[str, Any] = {"id": str(entry.question_id)}
    if entry.image is not None:
        sample["image"] = entry.image
    human = {"from": "human", "value": prefix + entry.item.text}
    sample["conversations"] = [human, {"from": "gpt", "value": entry.item.answer}]
    return sample


def evaluation_sample(entry: Entry) -> dict[str, Any]:
    """An evaluation sample: boxes for Grounding (which has no ``answer``), else ``answer``."""
    sample: dict[str, Any] = {"question_id": entry.question_id}
    if entry.image is not None:
        sample["image"] = entry.image
    sample["text"] = entry.item.text
    if "answer_bbox" in entry.item.truth:
        sample |= {name: entry.item.truth[name] for name in ("answer_bbox", "origin_answer_bbox", "size")}
    else:
        sample["answer"] = entry.item.answer
    return sample


def instruction_path(root: Path, folder: str, split: str) -> Path:
    """Where the instruction file of a task's split lies."""
    return root / INSTRUCTIONS / folder / f"{split}.json"


def write_json(path: Path, content: Sequence[Any] | Mapping[str, Any]) -> None:
    """Write JSON with fixed separators and line ends, so that equal content gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode())


def write_image(root: Path, relative: str, image: Image.Image) -> None:
    """Write a JPEG at quality 90 without colour subsampling (``relative`` begins with ``./``)."""
    path = root / IMAGES / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=90, subsampling=0)
