"""OCR-VQA: questions about book covers. CoIN has one conversation per training book, one sample per test question."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, first_of, needed
from coin_lightning.json_stream import read_object

IMAGES = "OCR-VQA/images"
PLACES = ("images",)
SPLITS = {1: "train", 2: "val", 3: "test"}


def samples(raw: Path, split: str) -> Samples:
    """Samples of a split, book after book; a question's id is ``<book>_<place in its list>``.

    Args:
        raw: holds ``dataset.json`` (split 1 train, 2 val, 3 test) and ``images/<book>.<suffix of the image's URL>``.
        split: ``train`` or ``test``.

    Raises:
        DataError: the file is missing or malformed.
    """
    (file,) = sources(raw, split)
    folder = first_of(raw, PLACES)
    names = frozenset(os.listdir(folder)) if folder is not None else frozenset[str]()
    for id_, book in read_object(file):
        yield from _samples_of_book(id_, book, f"{file} book {id_}", split, names)


def sources(raw: Path, split: str) -> list[Path]:
    """The file `samples` reads; raises when it is missing."""
    return [needed(raw, ("dataset.json",), "OCR-VQA's dataset.json")]


def _samples_of_book(id_: str, book: Any, where: str, split: str, names: frozenset[str]) -> Samples:
    if not isinstance(book, dict):
        yield Problem(f"{where}: must be an object, found {type(book).__name__}")
        return
    if book.get("split") not in SPLITS:
        yield Problem(f"{where}: split must be 1 (train), 2 (val) or 3 (test), found {book.get('split')!r:.60}")
        return
    if SPLITS[book["split"]] != split:
        return
    questions, answers = book.get("questions"), book.get("answers")
    if not isinstance(questions, list) or not isinstance(answers, list) or len(questions) != len(answers):
        yield Problem(f"{where}: questions and answers must be lists of one length; mend or remove the book")
        return
    image = f"{IMAGES}/{_name(id_, book, names)}"
    for place, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        if isinstance(question, str) and isinstance(answer, str | int):
            yield RawSample(f"{id_}_{place}", image, question, str(answer), id_)
        else:
            yield Problem(f"{where}: questions[{place}] or its answer is no text; mend or remove it")


def _name(id_: str, book: dict[str, Any], names: frozenset[str]) -> str:
    """The cover's file: a ``.jpg`` (some unpack all as such), else with the suffix that its URL has."""
    suffixed = f"{id_}{PurePosixPath(str(book.get('imageURL', ''))).suffix}"
    return suffixed if suffixed in names and f"{id_}.jpg" not in names else f"{id_}.jpg"


RAW = RawTask(
    key="ocrvqa",
    folder="OCRVQA",
    evaluation="test",
    samples=samples,
    sources=sources,
    images={IMAGES: PLACES},
    raw_folders=("OCR-VQA", "OCRVQA", "ocrvqa"),
    layout="dataset.json, images/<book>.jpg (or .gif, .png)",
    lists_images=True,
)
