"""A report of a data check as `cli/data_verify.py` makes it, small enough to read."""

from pathlib import Path
from typing import Any

from PIL import Image

ROOT = "/data/coin"


def task(name: str, image_root: Path, **changes: Any) -> dict[str, Any]:
    """One task without findings; `changes` replace fields."""
    balance = {"count": 4, "distinct": 2, "majority": 0.75, "bits": 0.81, "unseen": None, "boxes": False,
               "top": [("yes", 3), ("<b>no</b>", 1)]}  # fmt: skip
    lengths = {"longest": 3, "p95": 3, "limit": 4, "over": 0, "histogram": [0, 3, 0, 1, 0, 0, 0, 0, 0]}
    folder = f"{ROOT}/Instructions_Original/{name}"
    return {
        "task": name,
        "image_root": str(image_root),
        "files": {"train": f"{folder}/train.json", "test": f"{folder}/test.json"},
        "max_new_tokens": 4,
        "counts": {"train": 12726, "test": 4},
        "expected": {"train": [expected(12726)], "test": [expected(5, False)]},
        "images": {"distinct": 2, "sound": 2, "train_without": 1, "test_without": 0},
        "balance": {"train": balance, "test": {**balance, "unseen": 0.25}},
        "lengths": {"train": lengths, "test": lengths},
        "findings": [],
        "shown": [],
        "levels": {"error": 0, "warning": 0, "note": 0},
    } | changes


def expected(count: int, agrees: bool = True, rounded: bool = False, **changes: Any) -> dict[str, Any]:
    """A statement about a number of samples."""
    return {
        "count": count, "source": "somebody counted", "certainty": "JSON count", "rounded": rounded, "agrees": agrees
    } | changes  # fmt: skip


def finding(level: str, kind: str, count: int, *examples: str, split: str = "train") -> dict[str, Any]:
    """A finding with its words."""
    text = f"{count} cases of {kind}"
    return {"level": level, "kind": kind, "split": split, "count": count, "examples": list(examples), "text": text}


def report(*tasks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The whole."""
    facts = {"scenario": "coin", "instructions": "Instructions_Original", "root": ROOT, "backbone": "tiny",
             "max_length": 1024, "checked": "2026-01-31"}  # fmt: skip
    return {**facts, "tasks": list(tasks)} | changes


def image(folder: Path, name: str = "a.png", size: tuple[int, int] = (60, 30)) -> str:
    """A grey image; gives its name."""
    Image.new("RGB", size, "grey").save(folder / name)
    return name
