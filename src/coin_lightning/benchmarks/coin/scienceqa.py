"""ScienceQA from `problems.json` and `pid_splits.json`: every problem of a split, with and without an image.

CoIN's counts are those of the whole splits (train 12,726, test 4,241; val is left out), and the wording is that of
LLaVA's converter: question, context (the hint, or N/A), options; the answer is the option's letter.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, needed
from coin_lightning.errors import DataError
from coin_lightning.json_stream import read_object

LETTERS = "ABCDE"
IMAGES = "ScienceQA/images"
PROBLEMS = ("problems.json", "data/scienceqa/problems.json")
SPLITS = ("pid_splits.json", "data/scienceqa/pid_splits.json")


def samples(raw: Path, split: str) -> Samples:
    """Samples of a split (`train` or `test`) in the order of `problems.json`; the id is the problem's.

    Raises:
        DataError: a file is missing or malformed, or `pid_splits.json` lacks the split.
    """
    problems, splits = sources(raw, split)
    missing = _ids(splits, split)
    for id_, problem in read_object(problems):
        if id_ in missing:
            del missing[id_]
            yield _sample(id_, problem, split, f"{problems} problem {id_}")
    for id_ in missing:
        yield Problem(
            f"{splits}: id {id_} of split {split!r} is not in {problems.name}; the files do not belong together"
        )


def sources(raw: Path, split: str) -> list[Path]:
    """The files `samples` reads; raises when one is missing."""
    return [needed(raw, PROBLEMS, "problems.json"), needed(raw, SPLITS, "pid_splits.json")]


def _ids(file: Path, split: str) -> dict[str, None]:
    lists = dict(read_object(file))
    ids = lists.get(split)
    if not isinstance(ids, list) or not ids:
        raise DataError(
            f"{file}: has no ids for split {split!r}, only {', '.join(map(repr, lists))}; is it another file?"
        )
    return dict.fromkeys(map(str, ids))


def _sample(id_: str, problem: Any, split: str, where: str) -> RawSample | Problem:
    if not isinstance(problem, dict):
        return Problem(f"{where}: must be an object, found {type(problem).__name__}")
    question, choices, answer = (problem.get(key) for key in ("question", "choices", "answer"))
    if not isinstance(question, str) or not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        return Problem(f"{where}: 'question' must be a text and 'choices' a list of texts")
    if not 2 <= len(choices) <= len(LETTERS) or type(answer) is not int or not 0 <= answer < len(choices):
        return Problem(f"{where}: answer {answer!r} is no index into its {len(choices)} choices (2 to {len(LETTERS)})")
    if problem.get("split", split) != split:
        return Problem(f"{where}: is of split {problem['split']!r}, but pid_splits.json has it in {split!r}")
    image = problem.get("image")
    if image is not None and (not isinstance(image, str) or "/" in image):
        return Problem(f"{where}: 'image' must be a file name or null, found {image!r:.60}")
    path = f"{IMAGES}/{split}/{id_}/{image}" if image else None
    return RawSample(id_, path, _question(question, problem, choices), LETTERS[answer])


def _question(question: str, problem: Mapping[str, Any], choices: list[str]) -> str:
    hint = str(problem.get("hint") or "").strip() or "N/A"
    options = " ".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return f"{question}\nContext: {hint}\nOptions: {options}"


RAW = RawTask(
    key="scienceqa",
    folder="ScienceQA",
    evaluation="test",
    samples=samples,
    sources=sources,
    images={
        f"{IMAGES}/{split}": (f"images/{split}", split, f"data/scienceqa/images/{split}") for split in ("train", "test")
    },
    truths={"ScienceQA/problems.json": PROBLEMS, "ScienceQA/pid_splits.json": SPLITS},
    raw_folders=("ScienceQA", "scienceqa"),
    layout="problems.json, pid_splits.json, images/{train,test}/<id>/image.png",
)
