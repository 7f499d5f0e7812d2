"""Which option of a multiple-choice question an answer names."""

import re
from collections.abc import Sequence
from functools import partial

from coin_lightning.evaluation.answer_text import fold, normalize_answer

_REFERENCE_LETTERS = "ABCDE"
_LONE_CHARACTER = re.compile(r"\b(\w)\b")

_BARE = re.compile(r"[\s(\[\"'*]*([A-Za-z])[\s)\]\"'*.,:;!]*")
_LEADING = re.compile(r"[(\[]?([A-Za-z])(?:[)\]][.:]?\s*|[.:]\s*(?!\w\.)|\s*\n\s*)(?=\S)")
_ANNOUNCED = re.compile(
    r"\b(?i:answer|option|choice)(?:\s++is)?+\s*+:?\s*+[(\[\"'*]*+([A-Z])"
    r"(?=[)\]\"'*.,:;!]|\s*$|\s+(?:because|since)\b|\s+is\s+(?:the\s+)?(?:correct|right)\b)"
)
_DASH = re.compile(r"-(\s*)[$\u20ac\u00a3]?(\.?\d+(?:[.,]\d+)*)")
_RANGE = re.compile(r"[\d)%\u00b0]\s+$|[\w.)%\u00b0]$")
"""What stands before a dash that is no sign: a number and blanks, or a word right before it."""
_BEFORE = 8
"""Characters before a dash that are looked at."""
_ANNOUNCEMENT = re.compile(r"(?:the\s+)?(?:correct\s+|right\s+)?answer(?:\s+is)?\s*:?\s+", re.IGNORECASE)


def reference_option(text: str, choices: Sequence[str]) -> int | None:
    """Index that CoIN's own parser reads, or None (it says "FAILED", or the letter has no choice).

    Exactly "A".."E"; or "X. ..."; or else the first character that stands alone, upper-cased, so "a dog" names A.
    """
    if text and text in tuple(_REFERENCE_LETTERS):
        letter = text
    elif len(text) >= 3 and text[0] in _REFERENCE_LETTERS and text[1:3] == ". ":
        letter = text[0]
    else:
        alone = _LONE_CHARACTER.search(text)
        letter = alone.group(1).upper() if alone else "FAILED"
    valid = tuple(_REFERENCE_LETTERS[: len(choices)])
    return valid.index(letter) if letter in valid else None


def named_option(text: str, choices: Sequence[str]) -> int | None:
    """Index of the one choice that an answer names, or None.

    In this order: a letter by itself in any case ("B", "(b)", "B."), which names nothing where there is no such choice,
    not even a choice whose text it is; the text of exactly one choice; a letter in front ("B. text", "B) text"); one
    announced capital letter ("The answer is B", "option (C)"); an announced choice text. A lone "a" inside a sentence
    is an article. Texts are compared in the strictest form in which any choice is equal: as they are, without a last
    point, in lower case, in `normalize_answer` form with the same negative numbers. So where choices differ in capitals
    or marks alone, as in ScienceQA's questions on writing, an answer that has them right names its choice.
    """
    clean = fold(text)
    bare = _BARE.fullmatch(clean)
    if bare:
        return _index(bare.group(1), choices)
    by_text = _choice_with_text(clean, choices)
    if by_text is not None:
        return by_text
    leading = _LEADING.match(clean)
    if leading:
        return _index(leading.group(1), choices)
    announced = set(_ANNOUNCED.findall(clean))
    if announced:
        return _index(announced.pop(), choices) if len(announced) == 1 else None
    return _choice_with_text(_ANNOUNCEMENT.sub("", clean, count=1), choices)


def _index(letter: str, choices: Sequence[str]) -> int | None:
    index = ord(letter.upper()) - ord("A")
    return index if index < len(choices) else None


def _choice_with_text(text: str, choices: Sequence[str]) -> int | None:
    common = normalize_answer(text)  # of any two that are equal in a stricter form
    alike = {index: choice for index, choice in enumerate(choices) if common and normalize_answer(choice) == common}
    for form in _FORMS if alike else ():
        wanted = form(text)
        if found := [index for index, choice in alike.items() if form(choice) == wanted]:
            return found[0] if len(found) == 1 else None
    return None


def _without_point(text: str) -> str:
    return fold(text).removesuffix(".").rstrip()


def _lowered(text: str) -> str:
    return _without_point(text).lower()


def _negatives(text: str, bullets: bool = False) -> tuple[str, ...]:
    """The negative numbers, whose sign `normalize_answer` takes for a hyphen.

    Args:
        bullets: a dash with a blank behind it at the beginning is none; else it is a sign.
    """
    plain = fold(text)
    return tuple(
        dash[2].replace(",", "")
        for dash in _DASH.finditer(plain)
        if (not dash[1] or (dash.start() == 0 and not bullets))
        and not _RANGE.search(plain[max(0, dash.start() - _BEFORE) : dash.start()])
    )


_FORMS = (fold, _without_point, _lowered, _negatives, partial(_negatives, bullets=True))
"""Of texts of one `normalize_answer` form, from the strictest on."""
