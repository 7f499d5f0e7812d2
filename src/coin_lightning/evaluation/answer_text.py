"""Bringing short answers into a common form before they are compared."""

import re
import unicodedata
from functools import lru_cache

ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}

# The English contractions that the VQA challenge restores. Ambiguous ones ("ill", "its", "shell", "were", "id") are
# left out there.
_CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
    "he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've "
    "needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've "
    "somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll "
    "that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've "
    "we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
    "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've "
    "you'll you're you've"
)


def _missing_apostrophes(words: str) -> dict[str, str]:
    """Each contraction under every spelling that lacks exactly one of its apostrophes."""
    return {w[:i] + w[i + 1 :]: w for w in words.split() for i, letter in enumerate(w) if letter == "'"}


CONTRACTIONS = _missing_apostrophes(_CONTRACTED + " somebody'd")
# The reference's table has this one entry the wrong way round.
_REFERENCE_CONTRACTIONS = _missing_apostrophes(_CONTRACTED) | {"somebody'd": "somebodyd"}

_REFERENCE_MARKS = frozenset(';/[]"{}()=+\\_->`@<,?!')
_PERIOD = re.compile(r"\.(?!\d)")
_REFERENCE_PERIOD_LIMIT = 32  # the reference passes a regex flag where the count belongs; its value is 32

_TYPOGRAPHY = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2212": "-"}
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MARKS_TO_SPACE = str.maketrans(dict.fromkeys(';/[]"{}()=+\\_->`@<,?!:*', " "))


def fold(text: str) -> str:
    """Unicode compatibility form (NFKC) with typewriter quotes and dashes, white space at the ends removed."""
    return unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY).strip()


@lru_cache(maxsize=1 << 16)
def normalize_answer(text: str) -> str:
    """Common form of a short answer, used by every `corrected` rule on text; empty only for a blank text; idempotent.

    The steps of the VQA challenge (Antol et al. 2015, evaluation section): lower case, punctuation to spaces,
    thousands commas and periods that belong to no number removed, number words to digits, articles dropped,
    contractions restored. Against the EvalAI code: `fold` comes first, punctuation always leaves a space, "'s" stays
    attached, and an answer that consists of articles ("A" on a sign) or of punctuation alone is kept instead of
    becoming empty.
    """
    lowered = fold(text).lower()
    words = _PERIOD.sub("", _THOUSANDS.sub("", lowered).translate(_MARKS_TO_SPACE)).split()
    mapped = [CONTRACTIONS.get(word, word) for word in (NUMBER_WORDS.get(word, word) for word in words)]
    return " ".join([word for word in mapped if word not in ARTICLES] or mapped) or lowered


@lru_cache(maxsize=1 << 16)
def evalai_normalize(text: str) -> str:
    """The answer processor of the reference's TextVQA rule (EvalAI's, as in Pythia/MMF), oddities included.

    Commas and question marks vanish, "'s" is split off, a punctuation mark vanishes where a space stands next to one
    of its kind and becomes a space elsewhere, at most 32 periods go, and answers made of articles or punctuation
    become empty.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    out = text
    for mark in _REFERENCE_MARKS.intersection(text):
        out = out.replace(mark, "" if f"{mark} " in text or f" {mark}" in text else " ")
    out = _PERIOD.sub("", out, count=_REFERENCE_PERIOD_LIMIT)
    words = [NUMBER_WORDS.get(word, word) for word in out.lower().split()]
    return " ".join(_REFERENCE_CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)
