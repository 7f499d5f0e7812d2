"""Scores of the parts into which a data set's own evaluation divides it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from coin_lightning.evaluation.scorer import Reference

Part = dict[str, Any]
"""`{"score": percent, "count": records}`."""

_LAST_LOWER_GRADE = 6


def scienceqa_parts(reference: Reference) -> list[str]:
    """Parts of a ScienceQA sample, as its authors divide it (Lu et al. 2022, table 3), as far as the sample tells.

    By image: "image" or "text only". By context: "text context" has a hint (it may have an image, too), "no
    context" neither hint nor image. By subject, and by grade 1-6 or 7-12.
    """
    image = bool(reference.get("image"))
    parts = ["image" if image else "text only"]
    hint = reference.get("hint")
    if hint is not None:
        parts += ["text context"] if hint else [] if image else ["no context"]
    if reference.get("subject"):
        parts.append(str(reference["subject"]))
    grade = str(reference.get("grade") or "").removeprefix("grade")
    if grade.isdecimal():
        parts.append("grades 1-6" if int(grade) <= _LAST_LOWER_GRADE else "grades 7-12")
    return parts


def answer_type_parts(reference: Reference) -> list[str]:
    """The kind of answer that the official VQA evaluations divide by ("yes/no", "number", "other"), where it is
    known."""
    kind = reference.get("answer_type")
    return [kind] if isinstance(kind, str) and kind else []


_ORDER = (
    "image", "text only", "text context", "no context", "natural science", "social science", "language science",
    "grades 1-6", "grades 7-12",
)  # fmt: skip


def breakdown(
    parts: Callable[[Reference], list[str]] | None, references: Sequence[Reference], each: Sequence[float | None] | None
) -> dict[str, Part]:
    """Score and size of each part, in a fixed order; empty where a task is not divided.

    Args:
        parts: names of the parts that a reference belongs to.
        references: of the records.
        each: their scores, None counting as 0; None as a whole where there are none (see `TaskScore`).
    """
    members: dict[str, list[float]] = {}
    for reference, score in zip(references, each, strict=True) if parts and each is not None else ():
        for part in parts(reference) if parts else ():
            members.setdefault(part, []).append(score or 0.0)
    names = sorted(members, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    return {name: {"score": 100.0 * math.fsum(members[name]) / len(members[name]), "count": len(members[name])}
            for name in names}  # fmt: skip
