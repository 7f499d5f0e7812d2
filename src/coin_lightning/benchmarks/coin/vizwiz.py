"""VizWiz-VQA: questions of blind people, ten annotators each. CoIN says "Unanswerable" where there is no answer."""

from collections import Counter
from pathlib import Path
from typing import Any

from coin_lightning.benchmarks.coin.answers import annotators, most_common
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, needed
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.json_stream import read_array

UNANSWERABLE = "Unanswerable"
HINTS = {"none": "", "llava": f"When the provided information is insufficient, respond with '{UNANSWERABLE}'."}


def samples(raw: Path, split: str, hint: str = "none") -> Samples:
    """Samples of a split. The files have no ids, so the image's name is the id, with ``_2`` for a second question.

    The answer is `UNANSWERABLE` where ``answerable`` is 0 or most annotators say so, else their most common one.

    Args:
        raw: holds ``train.json`` and ``val.json``.
        split: ``train`` or ``val`` (the test split has no answers).
        hint: ``llava`` puts LLaVA-1.5's line about unanswerable questions below each question; ``none`` is the
            default, since CoIN's published file has no room for it (``instructions/vizwiz.json``).

    Raises:
        ConfigError: ``hint`` is neither.
        DataError: a file is missing, malformed or of another split.
    """
    (file,) = sources(raw, split, hint)
    questions: Counter[str] = Counter()
    for place, entry in enumerate(read_array(file)):
        found = _sample(entry, f"{file}[{place}]", split, HINTS[hint])
        if isinstance(found, RawSample):
            questions[str(found.id)] += 1
            count = questions[str(found.id)]
            found = found if count == 1 else _renamed(found, f"{found.id}_{count}")
        yield found


def sources(raw: Path, split: str, hint: str = "none") -> list[Path]:
    """The file `samples` reads; raises as `samples`."""
    if hint not in HINTS:
        raise ConfigError(f"hint={hint}: choose from {', '.join(HINTS)}")
    return [
        needed(raw, (f"{split}.json", f"Annotations/{split}.json", f"annotations/{split}.json"), f"VizWiz's {split}")
    ]


def _renamed(sample: RawSample, id_: str) -> RawSample:
    return RawSample(id_, sample.image, sample.question, sample.answer, fields=sample.fields)


def _sample(entry: Any, where: str, split: str, hint: str) -> RawSample | Problem:
    if not isinstance(entry, dict):
        return Problem(f"{where}: must be an object, found {type(entry).__name__}")
    image, question, answerable = entry.get("image"), entry.get("question"), entry.get("answerable")
    if not isinstance(image, str) or not isinstance(question, str):
        return Problem(f"{where}: needs image and question, found {image!r:.60} and {question!r:.60}")
    parts = image.split("_")
    if len(parts) == 3 and parts[0] == "VizWiz" and parts[1] != split:
        raise DataError(f"{where}: image {image!r:.60} is of {parts[1]}, so this is not the {split} file")
    if isinstance(answers := annotators(entry.get("answers")), str):
        return Problem(f"{where} ({image}): {answers}; mend or remove the entry")
    if answerable not in (0, 1):
        return Problem(f"{where} ({image}): answerable must be 0 or 1, found {answerable!r:.60}")
    answer = most_common(answers) if answerable else UNANSWERABLE
    answer = UNANSWERABLE if answer.casefold() == UNANSWERABLE.casefold() else answer
    fields: dict[str, Any] = {"answers": answers}
    if isinstance(kind := entry.get("answer_type"), str):
        fields["answer_type"] = kind
    question = f"{question}\n{hint}" if hint else question
    return RawSample(image.rsplit(".", 1)[0], f"VizWiz/{split}/{image}", question, answer, fields=fields)


RAW = RawTask(
    key="vizwiz",
    folder="VizWiz",
    evaluation="val",
    samples=samples,
    sources=sources,
    images={f"VizWiz/{split}": (split, f"images/{split}") for split in ("train", "val")},
    options=("hint",),
    raw_folders=("VizWiz", "vizwiz"),
    layout="train.json, val.json (or below Annotations/), train/*.jpg, val/*.jpg",
)
