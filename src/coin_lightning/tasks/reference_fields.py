"""The types that the rules read: plain conversions of a test sample's own fields, and what is refused.

JSON says `2` where an annotator said "2", and the official VQA files hold objects where the rules want texts. What can
be converted without loss is; nothing else reaches a rule.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

Reference = dict[str, Any]
ANNOTATORS = 10


def is_blank(value: Any) -> bool:
    """Whether a field says nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def as_text(value: Any) -> str:
    """A text as it is, a number as JSON writes it.

    Raises:
        ValueError: it is something else, or no finite number, or half a character (a lone surrogate).
    """
    if isinstance(value, str):
        value.encode()  # a UnicodeEncodeError is a ValueError
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a text or a number")
    return json.dumps(value)


def as_texts(value: Any) -> list[str]:
    """A list of texts; raises as `as_text`, and when it is no list or empty."""
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of texts")
    return [as_text(entry) for entry in value]


def as_annotators(value: Any) -> list[str]:
    """What each of ten annotators said, from texts or from the official objects with `answer`.

    Raises:
        ValueError: there are not ten, or one of them is no text.
    """
    if not isinstance(value, list) or len(value) != ANNOTATORS:
        raise ValueError(f"must be a list of {ANNOTATORS} annotators' answers")
    return as_texts([entry.get("answer") if isinstance(entry, dict) else entry for entry in value])


def as_index(value: Any) -> int:
    """A whole number from 0 on; raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number from 0 on")
    return value


TYPES: Mapping[str, Callable[[Any], Any]] = {
    "answer": as_text, "answers": as_annotators, "choices": as_texts, "answer_index": as_index, "subject": as_text,
    "grade": as_text, "answer_type": as_text,
}  # fmt: skip
"""Fields that rules and breakdowns read in a type of their own; the others are kept as they are."""
READ_FIELDS = frozenset(TYPES) | {"answer_bbox", "origin_answer_bbox", "size", "hint"}
"""All fields that anything reads."""


def converted(fields: Mapping[str, Any]) -> tuple[Reference, list[str]]:
    """Fields in the types that the rules read, and what is wrong with those that have another type."""
    made, problems = dict(fields), []
    for name, convert in TYPES.items():
        if name in fields:
            try:
                made[name] = convert(fields[name])
            except ValueError as error:
                reason = "has half a character" if isinstance(error, UnicodeEncodeError) else str(error)
                problems.append(f"field {name!r} {reason}, found {_short(fields[name])}; correct the sample")
    return made, problems


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:100]} ..."
