"""Bringing short answers into a common form before they are compared.

Four forms: `normalize_answer` (ours), `challenge_form` and `evalai_form` (the processing of the official VQA and
TextVQA evaluations), `evalai_normalize` (what CoIN's script does, every oddity included). In the first three only a
blank text becomes empty.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache, wraps

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

_OFFICIAL_MARKS = frozenset(';/[]"{}()=+\\_->`@<,?!')
_COMMA_BETWEEN_DIGITS = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_REFERENCE_PERIOD_LIMIT = 32  # the reference passes a regex flag where the count belongs; its value is 32

_TYPOGRAPHY = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2212": "-"}
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MARKS_TO_SPACE = str.maketrans(dict.fromkeys(';/[]"{}()=+\\_->`@<,?!:*', " "))

CACHED_ANSWERS = 1 << 17
CACHED_LENGTH = 200  # a model that runs wild writes long texts; they do not come twice


def _remembered(form: Callable[[str], str]) -> Callable[[str], str]:
    """Cache of a form for texts of the length of an answer: annotators and models repeat themselves."""
    known = lru_cache(maxsize=CACHED_ANSWERS)(form)

    @wraps(form)
    def short_or_not(text: str) -> str:
        return known(text) if len(text) <= CACHED_LENGTH else form(text)

    return short_or_not


def fold(text: str) -> str:
    """Unicode compatibility form (NFKC) with typewriter quotes and dashes, white space at the ends removed."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)).strip()


@_remembered
def normalize_answer(text: str) -> str:
    """Common form of a short answer for class names, titles and choices; idempotent.

    The steps of the VQA challenge (Antol et al. 2015, evaluation section) without its dependence on neighbouring
    spaces: lower case, punctuation to spaces, thousands commas and periods that belong to no number removed, number
    words to digits, articles dropped, contractions restored.
    """
    lowered = fold(text).lower()
    return _words(_PERIOD.sub("", _THOUSANDS.sub("", lowered).translate(_MARKS_TO_SPACE))) or lowered


@_remembered
def challenge_form(text: str) -> str:
    """The processing of the official VQA evaluation (VQA v2 and VizWiz challenges).

    A punctuation mark vanishes where one of its kind stands next to a space, or where the text has a comma between
    two digits, and becomes a space elsewhere; periods go unless a digit follows; number words become digits, articles
    go, contractions get their apostrophe. Against the official code: `fold` comes first, and an answer of nothing but
    articles ("A" on a sign) or punctuation keeps its words instead of becoming empty.
    """
    plain = fold(text)
    lowered = plain.lower()
    return _words(_PERIOD.sub("", _without_marks(lowered, bool(_COMMA_BETWEEN_DIGITS.search(lowered))))) or lowered


@_remembered
def evalai_form(text: str) -> str:
    """The answer processor of the TextVQA authors (EvalAI's, as in Pythia/MMF), with the two differences of
    `challenge_form`."""
    lowered = fold(text).lower()
    return _words(_PERIOD.sub("", _without_marks(_evalai_tokens(lowered), False))) or lowered


@_remembered
def evalai_normalize(text: str) -> str:
    """The answer processor of the reference's TextVQA rule (EvalAI's, as in Pythia/MMF), oddities included.

    Commas and question marks vanish, "'s" is split off, a punctuation mark vanishes where a space stands next to one
    of its kind and becomes a space elsewhere, at most 32 periods go, and answers made of articles or punctuation
    become empty.
    """
    plain = _without_marks(_evalai_tokens(text.lower()), False)
    words = _PERIOD.sub("", plain, count=_REFERENCE_PERIOD_LIMIT).lower().split()
    mapped = [NUMBER_WORDS.get(word, word) for word in words]
    return " ".join(_REFERENCE_CONTRACTIONS.get(word, word) for word in mapped if word not in ARTICLES)


def _evalai_tokens(text: str) -> str:
    apart = text.replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return apart.replace("\n", " ").replace("\t", " ").strip()


def _without_marks(text: str, all_vanish: bool) -> str:
    """Each mark of `_OFFICIAL_MARKS` removed or made a space, as the official evaluation decides for the whole text."""
    out = text.replace("\n", " ").replace("\t", " ")
    seen = out
    for mark in _OFFICIAL_MARKS.intersection(seen):
        out = out.replace(mark, "" if all_vanish or f"{mark} " in seen or f" {mark}" in seen else " ")
    return out


def _words(text: str) -> str:
    """Digits for number words, contractions restored, articles dropped unless there is nothing else."""
    mapped = [CONTRACTIONS.get(word, word) for word in (NUMBER_WORDS.get(word, word) for word in text.split())]
    return " ".join([word for word in mapped if word not in ARTICLES] or mapped)
