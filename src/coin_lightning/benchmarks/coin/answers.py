"""What ten annotators said, as one answer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

ANNOTATORS = 10


def annotators(value: Any) -> list[str] | str:
    """The ten answers of a raw list (of texts, or of objects with ``answer``), or what is wrong with it."""
    if not isinstance(value, list) or len(value) != ANNOTATORS:
        found = f"{len(value)}" if isinstance(value, list) else f"{type(value).__name__}"
        return f"'answers' must list the answers of {ANNOTATORS} annotators, found {found}"
    texts = [each.get("answer") if isinstance(each, dict) else each for each in value]
    said = [text for text in texts if isinstance(text, str)]
    return said if len(said) == ANNOTATORS else "'answers' holds an entry that is no text"


def most_common(answers: Sequence[str]) -> str:
    """The most frequent answer, capitals aside, in its most frequent spelling; of equals, what comes first.

    Empty answers count only where there is nothing else.
    """
    texts = [text for answer in answers if (text := answer.strip())]
    if not texts:
        return ""
    winner = Counter(text.casefold() for text in texts).most_common(1)[0][0]
    return Counter(text for text in texts if text.casefold() == winner).most_common(1)[0][0]
