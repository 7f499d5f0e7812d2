"""TextVQA 0.5.1: reading in scenes, ten annotators. CoIN has its 34,602 training questions, one per sample, and val."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coin_lightning.benchmarks.coin.answers import annotators, most_common
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, needed
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.json_stream import read_array

IMAGES = "TextVQA/train_images"  # the images of train and val
OCR_LINE = "Reference OCR token: "


def samples(raw: Path, split: str, ocr: str = "none") -> Samples:
    """Samples of a split; the answer is the most common one of the ten.

    Args:
        raw: holds ``TextVQA_0.5.1_{train,val}.json``.
        split: ``train`` or ``val``.
        ocr: ``rosetta`` puts the words that ``TextVQA_Rosetta_OCR_v0.2_{split}.json`` has for the image below the
            question, as LLaVA-1.5 does. ``none`` is the default, since CoIN's 49% is what that model has without.

    Raises:
        ConfigError: ``ocr`` is neither.
        DataError: a file is missing, malformed or of another split.
    """
    file, *ocr_files = sources(raw, split, ocr)
    words = dict(_words(ocr_files[0])) if ocr_files else None
    for place, entry in enumerate(read_array(file, "data")):
        yield _sample(entry, f"{file} data[{place}]", split, words)


def sources(raw: Path, split: str, ocr: str = "none") -> list[Path]:
    """The files `samples` reads; raises as `samples`."""
    if ocr not in ("none", "rosetta"):
        raise ConfigError(f"ocr={ocr}: choose from none, rosetta")
    files = [needed(raw, _places(f"TextVQA_0.5.1_{split}.json"), f"TextVQA's {split} file")]
    if ocr == "rosetta":
        files.append(needed(raw, _places(f"TextVQA_Rosetta_OCR_v0.2_{split}.json"), f"TextVQA's OCR file for {split}"))
    return files


def _places(name: str) -> tuple[str, ...]:
    return name, f"annotations/{name}"


def _words(file: Path) -> Iterator[tuple[str, str]]:
    for entry in read_array(file, "data"):
        tokens = entry.get("ocr_tokens") if isinstance(entry, dict) else None
        if isinstance(tokens, list):
            yield str(entry.get("image_id")), ", ".join(map(str, tokens))


def _sample(entry: Any, where: str, split: str, words: dict[str, str] | None) -> RawSample | Problem:
    if not isinstance(entry, dict):
        return Problem(f"{where}: must be an object, found {type(entry).__name__}")
    if (found := entry.get("set_name", split)) != split:
        raise DataError(f"{where}: set_name is {found!r}, so this is not the {split} file; put the right one there")
    id_, image, question = entry.get("question_id"), entry.get("image_id"), entry.get("question")
    if not isinstance(id_, int | str) or not isinstance(image, str) or not isinstance(question, str):
        return Problem(f"{where}: needs question_id, image_id and question, found {id_!r:.60}, {image!r:.60}")
    where = f"{where} (question_id {id_})"
    if isinstance(answers := annotators(entry.get("answers")), str):
        return Problem(f"{where}: {answers}; mend or remove the entry")
    if words is not None:
        if image not in words:
            return Problem(f"{where}: image_id {image!r:.60} is not in the OCR file; set ocr=none or fetch its like")
        question = f"{question}\n{OCR_LINE}{words[image]}"
    return RawSample(id_, f"{IMAGES}/{image}.jpg", question, most_common(answers))


_VAL = "TextVQA_0.5.1_val.json"
RAW = RawTask(
    key="textvqa",
    folder="TextVQA",
    evaluation="val",
    samples=samples,
    sources=sources,
    images={IMAGES: ("train_images", "train_val_images/train_images")},
    truths={f"TextVQA/{_VAL}": _places(_VAL)},
    options=("ocr",),
    raw_folders=("TextVQA", "textvqa"),
    layout="TextVQA_0.5.1_train.json, TextVQA_0.5.1_val.json, train_images/*.jpg (those of val are in it)",
)
