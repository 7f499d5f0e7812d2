"""Example answers for the report: which are shown, how they were scored, and small images of them."""

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.boxes import Box, answer_box, clip_to_frame, parse_box
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.metrics import flips
from coin_lightning.pillow_warnings import listening
from coin_lightning.pixel_depth import as_rgb
from coin_lightning.reporting.run_artifacts import RunArtifacts

_Pair = tuple[dict[str, Any], dict[str, Any], float, float]  # first and last record, their scores
GROUPS = ("forgotten", "gained", "kept", "wrong both times")
RIGHT = flips.RIGHT / 100
THUMBNAIL = 112  # pixels
HOW_CHOSEN = (
    "Up to half of the examples changed between right and wrong, the rest did not; within each half both kinds take "
    "turns as long as they last, and the order comes from a hash of the question id, so nobody picked them. "
    "The counts say how common each kind is among all test answers."
)


@dataclass(frozen=True)
class Example:
    """One question answered twice; scores in [0, 1]."""

    question_id: str
    prompt: str
    reference: str
    before: str
    after: str
    score_before: float
    score_after: float
    group: str
    image: str | None


@dataclass(frozen=True)
class TaskExamples:
    """Examples of one task, and how many of all its answers fall into each of ``GROUPS``."""

    task: str
    examples: tuple[Example, ...]
    counts: dict[str, int]
    changes_possible: bool


def all_examples(run: RunArtifacts, limit: int = 10) -> tuple[list[TaskExamples], list[str]]:
    """Those of all tasks, and why some have none: answers that were altered are not shown.

    Raises:
        RunError: records are missing or garbled.
    """
    found: list[TaskExamples] = []
    problems: list[str] = []
    for task in run.matrix.tasks:
        try:
            if (examples := collect_examples(run, task, limit)) is not None:
                found.append(examples)
        except DataError as error:
            problems += [problem.replace(str(run.path), "RUN") for problem in error.problems]
    return found, problems


def collect_examples(run: RunArtifacts, task: str, limit: int = 10) -> TaskExamples | None:
    """Answers to ``task`` right after its training and in the last finished experience; where no task is trained alone,
    in the last one only.

    Returns:
        None when the task has not been trained yet, or its metric exists over all answers only, or an imported run has
        no answers to it.

    Raises:
        RunError: records are missing or garbled.
        DataError: they are not what was written.
    """
    row = run.matrix.tasks.index(task) + 1 if run.matrix.training == "sequence" else max(run.matrix.last, 0)
    if row > run.matrix.last or not all(run.has_answers(each, task) for each in (row, run.matrix.last)):
        return None
    later = {str(record["question_id"]): record for record in run.records(run.matrix.last, task)}
    pairs = [(record, later[key]) for record in run.records(row, task) if (key := str(record["question_id"])) in later]
    scores = [_scores(run, task, [pair[side] for pair in pairs]) for side in (0, 1)]
    if scores[0] is None or scores[1] is None:
        return None
    scored = [(*pair, before, after) for pair, before, after in zip(pairs, scores[0], scores[1], strict=True)]
    groups: dict[str, list[_Pair]] = {name: [] for name in GROUPS}
    for item in sorted(scored, key=lambda item: _shuffle_key(item[0]["question_id"])):
        groups[group_of(item[2], item[3])].append(item)
    folder = run.image_folder(task)
    shown = tuple(_example(item, folder) for item in choose(groups, limit))
    return TaskExamples(task, shown, {name: len(items) for name, items in groups.items()}, row < run.matrix.last)


def _scores(run: RunArtifacts, task: str, records: Sequence[dict[str, Any]]) -> list[float] | None:
    names = ("question_id", "prompt", "prediction", "reference")
    answers = [AnswerRecord(task, *(record[name] for name in names)) for record in records]
    each = run.scoring(task).scorer(run.scorer).score(answers).each if answers else ()
    return None if each is None else [score or 0.0 for score in each]


def group_of(before: float, after: float) -> str:
    """One of ``GROUPS`` for a pair of scores in [0, 1]."""
    if (before >= RIGHT) != (after >= RIGHT):
        return "forgotten" if before >= RIGHT else "gained"
    return "kept" if after >= RIGHT else "wrong both times"


def choose(groups: dict[str, list[Any]], limit: int) -> list[Any]:
    """At most ``limit`` items: half changed, half unchanged, each half alternating between its two groups.

    When one half has too few, the other fills up. Items keep the order of their group.
    """
    changed = _alternate(groups["forgotten"], groups["gained"])
    same = _alternate(groups["wrong both times"], groups["kept"])
    from_changed = min(len(changed), max(limit // 2, limit - len(same)))
    return changed[:from_changed] + same[: limit - from_changed]


def thumbnail(folder: Path | None, record: dict[str, Any], later: dict[str, Any], size: int = THUMBNAIL) -> str | None:
    """JPEG data URI of the record's image (at most ``size`` pixels), or None when it is text-only, not readable, or
    outside ``folder``.

    For grounding the reference box (white), the first answer (blue) and the last one (orange) are drawn in.
    """
    name = record["reference"].get("image")
    if folder is None or not isinstance(name, str):
        return None
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        return None
    try:
        stat = path.stat()
        return _drawn(path, (stat.st_mtime_ns, stat.st_size), tuple(_boxes(record, later)), size)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None  # the page shows "no image": a report must not depend on the data still being there


@lru_cache(maxsize=256)  # of a run: its page is written after each experience, with much the same images
def _drawn(path: Path, stamp: tuple[int, int], boxes: tuple[tuple[Box, str], ...], size: int) -> str:
    with listening(), Image.open(path) as source:
        source.draft("RGB", (2 * size, 2 * size))
        image = as_rgb(source)
    image.thumbnail((size, size))
    for box, color in boxes:
        _draw_box(image, box, color)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def reference_text(reference: dict[str, Any]) -> str:
    """The expected answer as one line; for multiple choice with the text of the choice."""
    if "answer_bbox" in reference:
        return str(reference["answer_bbox"])
    answer, choices, index = str(reference.get("answer", "")), reference.get("choices"), reference.get("answer_index")
    if isinstance(choices, list) and isinstance(index, int) and 0 <= index < len(choices):
        return f"{answer} ({choices[index]})"
    return answer


def _example(item: _Pair, folder: Path | None) -> Example:
    first, last, before, after = item
    prompt = first["prompt"].replace("<image>", "").strip()
    return Example(
        question_id=str(first["question_id"]),
        prompt=_cut(prompt, 420),
        reference=_cut(reference_text(first["reference"]), 120),
        before=_cut(first["prediction"], 160),
        after=_cut(last["prediction"], 160),
        score_before=before,
        score_after=after,
        group=group_of(before, after),
        image=thumbnail(folder, first, last),
    )


def _shuffle_key(question_id: object) -> str:
    return hashlib.sha256(str(question_id).encode()).hexdigest()


def _alternate(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    return [item for pair in zip_longest(first, second) for item in pair if item is not None]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _boxes(record: dict[str, Any], later: dict[str, Any]) -> list[tuple[Box, str]]:
    """The true box and both answers, as far as they are boxes, as shares of the padded square, with their colours."""
    reference = record["reference"]
    if "answer_bbox" not in reference:
        return []
    found = [(parse_box(str(reference["answer_bbox"])), "#ffffff")]
    try:
        for each, color in ((record, "#0072b2"), (later, "#d55e00")):
            found.append((answer_box(each["prediction"], each["reference"]), color))
    except ConfigError:  # of a format that nobody knows, which scoring has told of
        pass
    return [(clip_to_frame(box), color) for box, color in found if box is not None]


def _draw_box(image: Image.Image, numbers: Box, color: str) -> None:
    """Draw a box of the frame of the image padded to a square."""
    side = max(image.size)
    left, top = (side - image.width) / 2, (side - image.height) / 2
    x1, x2 = sorted(side * numbers[i] - left for i in (0, 2))
    y1, y2 = sorted(side * numbers[i] - top for i in (1, 3))
    draw = ImageDraw.Draw(image)
    draw.rectangle((x1, y1, x2, y2), outline="#000000", width=3)
    draw.rectangle((x1, y1, x2, y2), outline=color, width=2)
