"""Scores of the parts into which a data set's own evaluation divides it."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from coin_lightning.evaluation.scorer import Reference

Part = dict[str, Any]
"""`{"score": percent, "count": records}`."""

_LAST_LOWER_GRADE = 6


def scienceqa_parts(reference: Reference) -> list[str]:
    """Parts of a ScienceQA row, as its authors divide it (Lu et al. 2022, table 3), as far as the row tells.

    By picture: "image" or "text only". By context: "text context" has a hint (it may have a picture, too), "no
    context" neither hint nor picture. By subject, and by grade 1-6 or 7-12.
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


PARTS: dict[str, Callable[[Reference], list[str]]] = {
    "scienceqa": scienceqa_parts,
    "vqav2": answer_type_parts,
    "vizwiz": answer_type_parts,
}
"""Task -> parts that a row belongs to."""
_ORDER = (
    "image", "text only", "text context", "no context", "natural science", "social science", "language science",
    "grades 1-6", "grades 7-12",
)  # fmt: skip


def breakdown(
    task: str, references: Iterable[Reference], scores: Iterable[Sequence[float | None]]
) -> list[dict[str, Part]]:
    """Score and size of each part, for several rules at once; empty where a task is not divided.

    Args:
        task: task key.
        references: of the records.
        scores: one tuple per record with its score by each rule, None counting as 0.

    Returns:
        One dict per rule, part -> percent and count, in a fixed order.
    """
    parts = PARTS.get(task)
    pairs = list(zip(references, scores, strict=True))
    rules = len(pairs[0][1]) if pairs else 0
    if parts is None:
        return [{} for _ in range(rules)]
    members: dict[str, list[Sequence[float | None]]] = {}
    for reference, row in pairs:
        for part in parts(reference):
            members.setdefault(part, []).append(row)
    names = sorted(members, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    return [{name: _part([row[rule] for row in members[name]]) for name in names} for rule in range(rules)]


def _part(scores: Sequence[float | None]) -> Part:
    return {"score": 100.0 * math.fsum(score or 0.0 for score in scores) / len(scores), "count": len(scores)}
