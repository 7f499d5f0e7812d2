"""GQA's balanced questions: one conversation per training image (72,140 in CoIN), one sample per testdev question."""

from pathlib import Path
from typing import Any

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, needed
from coin_lightning.errors import DataError
from coin_lightning.json_stream import read_object

IMAGES = "GQA/images"
NAMES = {"train": "train_balanced_questions", "test": "testdev_balanced_questions"}


def samples(raw: Path, split: str) -> Samples:
    """Samples of a split; the questions of an image are one group.

    Args:
        raw: holds ``train_balanced_questions.json`` (or a folder of that name with parts) and
            ``testdev_balanced_questions.json``.
        split: ``train`` or ``test`` (which is testdev).

    Raises:
        DataError: a file is missing or malformed, or has questions outside the balanced set.
    """
    for file in sources(raw, split):
        for id_, entry in read_object(file):
            yield _sample(id_, entry, f"{file} question {id_}")


def sources(raw: Path, split: str) -> list[Path]:
    """The files `samples` reads; raises when there is none."""
    found = needed(
        raw, _places(f"{NAMES[split]}.json") + _places(NAMES[split]), f"GQA's balanced questions for {split}"
    )
    if not found.is_dir():
        return [found]
    parts = sorted(found.glob("*.json"), key=lambda file: (len(file.name), file.name))
    if not parts:
        raise DataError(f"{found}: the folder holds no JSON file; unpack GQA's questions there")
    return parts


def _places(name: str) -> tuple[str, ...]:
    return name, f"questions/{name}", f"questions1.2/{name}"


def _sample(id_: str, entry: Any, where: str) -> RawSample | Problem:
    if not isinstance(entry, dict):
        return Problem(f"{where}: must be an object, found {type(entry).__name__}")
    if entry.get("isBalanced") is False:
        raise DataError(f"{where}: isBalanced is false, so this file has all questions; put the balanced one there")
    image, question, answer = entry.get("imageId"), entry.get("question"), entry.get("answer")
    if not isinstance(image, str) or not isinstance(question, str) or not isinstance(answer, str):
        found = f"{image!r:.60}, {question!r:.60}, {answer!r:.60}"
        return Problem(f"{where}: needs texts imageId, question and answer, found {found}")
    return RawSample(id_, f"{IMAGES}/{image}.jpg", question, answer, image)


RAW = RawTask(
    key="gqa",
    folder="GQA",
    evaluation="test",
    samples=samples,
    sources=sources,
    images={IMAGES: ("images", "allImages/images")},
    truths={f"{IMAGES.split('/')[0]}/{NAMES['test']}.json": _places(f"{NAMES['test']}.json")},
    raw_folders=("GQA", "gqa"),
    layout="train_balanced_questions.json, testdev_balanced_questions.json (or below questions/), images/*.jpg",
)
