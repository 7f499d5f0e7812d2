"""The files of CoIN's result folders, read: answers, printed scores, ScienceQA's results, the judge's score."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from coin_lightning.errors import DataError
from coin_lightning.json_files import BROKEN, load_object

_ACCURACY = re.compile(r"(?<![\w-])Accuracy:\s*(\d+(?:\.\d+)?)\s*%")
_SAMPLES = re.compile(r"\b(?:Samples|Total):\s*(\d{1,15})\b")
_JUDGED = re.compile(r"Final score:\s*(-?\d+(?:\.\d+)?)\s*")
NO_ANSWER = "FAILED"
"""What ScienceQA's script writes in place of an answer that it does not find."""


class Answer(NamedTuple):
    """A line of `merge.jsonl`; `prompt` is None where the file does not say what was asked."""

    question_id: str
    prompt: str | None
    text: str


class Wrong(NamedTuple):
    """An answer that a rule counts as wrong, and the label that it should have been."""

    question_id: str
    text: str
    truth: str


@dataclass(frozen=True)
class Printed:
    """What a scoring script printed: percent, the number of samples where it says so, and the answers that it lists as
    wrong (ImageNet's does), None where it lists none or not with their labels. `all_scores` if it was printed more than
    once: a script appends."""

    score: float
    samples: int | None
    wrong: tuple[Wrong, ...] | None = None
    all_scores: tuple[float, ...] = ()


def read_answers(file: Path) -> list[Answer]:
    """Lines of a `merge.jsonl`, in order.

    Raises:
        DataError: lines that are no answers, all of them with file and number.
    """
    answers, problems = [], []
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if line.strip():
            try:
                answers.append(_answer(json.loads(line)))
            except BROKEN as error:
                problems.append(f"{file}:{number}: is no answer ({error}); restore the line, or remove it")
    if problems:
        raise DataError(problems)
    return answers


def _answer(value: Any) -> Answer:
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    for name, kinds in (("question_id", (str, int)), ("text", (str,))):
        if not isinstance(value.get(name), kinds) or isinstance(value.get(name), bool):
            raise ValueError(f"field {name!r} is {value.get(name)!r}")
    prompt = value.get("prompt")
    return Answer(str(value["question_id"]), prompt if isinstance(prompt, str) else None, value["text"])


def read_printed(file: Path) -> Printed:
    """A `Result.text`; of a score that stands there several times the last one counts.

    Raises:
        DataError: it has no accuracy, or a list of wrong answers that is cut off.
    """
    head, bracket, listed = _text(file).partition("\n[")
    scores = tuple(float(each) for each in _ACCURACY.findall(head))
    if not scores or max(scores) > 100:
        raise DataError(f"{file}: has no 'Accuracy: ...%'; remove the file if the scoring was broken off")
    samples = [int(each) for each in _SAMPLES.findall(head)]
    try:
        wrong = tuple(_wrong(json.loads(bracket + listed))) if bracket else None
    except BROKEN as error:
        raise DataError(f"{file}: its list of wrong answers cannot be read ({error}); restore the file") from error
    except KeyError:  # the first files of this kind have no labels
        wrong = None
    if wrong and samples and len(wrong) > samples[-1] > 0:
        raise DataError(
            f"{file}: lists {len(wrong)} wrong answers, but says that there are {samples[-1]} in all; restore the file"
        )
    return Printed(scores[-1], samples[-1] or None if samples else None, wrong, scores if len(set(scores)) > 1 else ())


def _wrong(entries: Sequence[Any]) -> Iterator[Wrong]:
    for entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"{entry!r} is no answer")
        yield Wrong(*(str(entry[name]) for name in ("question_id", "text", "ground_truth")))


def read_options(file: Path) -> tuple[list[Answer], Printed, int]:
    """ScienceQA's `output_result.jsonl`, which is one JSON object: answers, accuracy, and how many had no answer.

    Raises:
        DataError: it is something else.
    """
    content = load_object(file)
    outputs, score, count = content.get("outputs"), content.get("acc"), content.get("count")
    if not isinstance(outputs, dict) or not all(isinstance(text, str) for text in outputs.values()):
        raise DataError(f"{file}: has no answers under 'outputs'; restore the file, or remove it")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 100:
        raise DataError(f"{file}: 'acc' is {score!r}, expected percent; restore the file, or remove it")
    answers = [Answer(str(id_), None, text) for id_, text in outputs.items() if text != NO_ANSWER]
    return answers, Printed(float(score), count if isinstance(count, int) else None), len(outputs) - len(answers)


def read_judged(file: Path) -> float:
    """Percent in a `Prompt_Result.text`.

    Raises:
        DataError: there is none.
    """
    found = _JUDGED.fullmatch(_text(file).strip())
    if found is None or not math.isfinite(float(found[1])):
        raise DataError(f"{file}: has no 'Final score:...' alone; restore the file, or remove it")
    return float(found[1])


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 ({error}); restore the file, or remove it") from error
