"""From a judge's reply to a number from 0 to 10, and from numbers to a percentage, in two variants.

`strict` (default) takes a reply that is one number and nothing else; any other reply is unparsed: counted, shown, and
left out of the mean. `reference` does as CoIN's released script (`coin_reference.md` section 5), oddities included.
"""

import math
import re
from collections.abc import Callable, Sequence

from coin_lightning.errors import ConfigError

VARIANTS = ("strict", "reference")
TOP = 10.0
"""Best score."""

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_EMPHASIS = re.compile(r"[*`]+")
_WRAPPING = " \t\r\n_\"'[](){}"
_LABEL = (
    r"(?:(?:the|my|overall|final|total|accuracy|assistant'?s?)\s+)*(?:score|rating|accuracy|grade)(?:\s+is)?"
    r"(?:\s*[:=]\s*|\s+)[\[(\"']*"
)
_NUMBER = r"(?P<number>10(?:\.0+)?|[0-9](?:\.[0-9]+)?)"
_SCALE = r"(?:\s*/\s*10(?:\.0+)?|\s+out\s+of\s+10|\s+points?)?"
_STRICT = re.compile(rf"(?:{_LABEL})?{_NUMBER}{_SCALE}\.?", re.IGNORECASE | re.ASCII)
_FIRST_DIGIT = re.compile(r"[1-9]")


def strict_score(reply: str) -> float | None:
    """The score that a reply states and nothing but states, or None.

    A number is an integer or decimal from 0 to 10 with a point. Allowed around it: a label ("Score: 8", "The score is
    8", "Rating = 8"), the scale ("8/10", "8 out of 10", "8 points"), a full stop, brackets, quotes, Markdown emphasis,
    white space, and a reasoning model's `<think>` block in front. Two numbers, words, signs, numbers outside 0 to 10
    and other scales ("80/100", "4/5") make a reply unparsed: what they mean would be a guess.
    """
    bare = _EMPHASIS.sub("", _THOUGHT.sub("", reply, count=1)).strip(_WRAPPING)
    found = _STRICT.fullmatch(bare)
    return float(found["number"]) if found else None


def reference_score(reply: str) -> float | None:
    """What CoIN's script adds to its sum for a reply; None where it adds nothing, which counts as 0.

    Whatever Python reads as a number up to 10 counts as it is, also below 0; with a slash in the reply, the text in
    front of the first one must be a whole number up to 10 without sign, point or space ("8.5/10" gives nothing); else
    the first digit from 1 to 9 anywhere ("Score: 10" gives 1). Replies at which the script stops with an error ("-inf",
    a superscript digit before a slash) give nothing.
    """
    try:
        number = float(reply)
    except ValueError:
        return _slash_score(reply) if "/" in reply else _first_digit(reply)
    return number if math.isfinite(number) and number <= TOP else None


def _slash_score(reply: str) -> float | None:
    front = reply.split("/", 1)[0]
    try:
        return float(front) if front.isnumeric() and float(front) <= TOP else None
    except ValueError:
        return None


def _first_digit(reply: str) -> float | None:
    found = _FIRST_DIGIT.search(reply)
    return float(found.group()) if found else None


PARSERS: dict[str, Callable[[str], float | None]] = {"strict": strict_score, "reference": reference_score}


def parser(variant: str) -> Callable[[str], float | None]:
    """`strict_score` or `reference_score`.

    Raises:
        ConfigError: an unknown variant.
    """
    if variant not in PARSERS:
        raise ConfigError(f"judge.variant={variant!r} is unknown; use {' or '.join(VARIANTS)}")
    return PARSERS[variant]


def percent(scores: Sequence[float | None], variant: str) -> float | None:
    """Scores from 0 to 10 as one percentage.

    `strict`: the mean over the parsed ones, None when there are none. `reference`: the sum over ten times the number of
    all replies, rounded to a whole percent (half to even).

    Args:
        scores: one per reply; None where the parser found no score.
        variant: `strict` or `reference`.
    """
    parsed = [score for score in scores if score is not None]
    if variant == "reference":
        return float(round(sum(parsed) / (TOP * len(scores)) * 100.0)) if scores else None
    return 100.0 * math.fsum(parsed) / (TOP * len(parsed)) if parsed else None
