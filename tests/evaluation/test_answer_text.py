"""The two normal forms of short answers."""

import random

import pytest

from coin_lightning.evaluation.answer_text import CONTRACTIONS, evalai_normalize, fold, normalize_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Red  Car.", "red car"),
        ("two", "2"),
        ("None", "0"),
        ("1,234,567", "1234567"),
        ("1,23", "1 23"),
        ("12,345.60", "12345.60"),
        ("red,blue;green", "red blue green"),
        ("x-ray/scan", "x ray scan"),
        ("U.S.A.", "usa"),
        (".5", ".5"),
        ("3.", "3"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("twas", "'twas"),
        ("Don\u2019t", "don't"),
        ("dog's", "dog's"),
        ("A", "a"),
        ("the a", "the a"),
        ("?!", "?!"),
        ("", ""),
        (" \n\t\u00a0", ""),
        ("\uff21\uff22 \uff11", "ab 1"),
        ("Stra\u00dfe", "straße"),
    ],
)
def test_normalize_answer(text, expected):
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Red  Car.", "red car"),
        ("1,23", "123"),
        ("red,blue", "redblue"),
        ("x-ray", "x ray"),
        ("x-ray - scan", "xray scan"),  # one loose hyphen makes all hyphens vanish
        ("dog's", "dog 's"),
        ("shes", "shes"),  # not in the table
        ("hes", "he's"),
        ("somebody'd", "somebodyd"),  # the table's odd entry
        ("A", ""),
        ("?", ""),
        ("Don\u2019t", "don\u2019t"),
        ("." * 40, "." * 8),  # at most 32 go
    ],
)
def test_evalai_normalize_keeps_the_oddities(text, expected):
    assert evalai_normalize(text) == expected


ALPHABET = [
    "a",
    "the",
    "two",
    "cat",
    "dont",
    "don't",
    "1,000",
    "3.5",
    "1",
    "000",
    ",",
    ".",
    "-",
    "?",
    "'",
    " ",
    "  ",
    "\n",
    "U.S.",
]


def some_texts(count: int, alphabet: list[str]) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choice(alphabet) for _ in range(rng.randint(0, 7))) for _ in range(count)]


def test_normalize_answer_is_idempotent_and_empty_only_for_blank_text():
    for text in some_texts(5000, ALPHABET):
        once = normalize_answer(text)
        assert normalize_answer(once) == once, text
        assert (once == "") == (text.strip() == ""), text


def test_case_outer_space_and_a_last_point_never_matter():
    for text in some_texts(2000, ["cat", "Dog", "two", "the ", " ", "x-ray", "7"]):
        if text.strip():
            assert normalize_answer(f" {text.upper()}. ") == normalize_answer(text), text


def test_both_forms_agree_on_plain_words():
    for text in some_texts(2000, ["cat ", "Two ", "the dog ", "isnt ", "7 ", "red. "]):
        if evalai_normalize(text):
            assert normalize_answer(text) == evalai_normalize(text), text


def test_contractions_lack_exactly_one_apostrophe():
    assert len(CONTRACTIONS) > 100
    for short, full in CONTRACTIONS.items():
        assert short in {full[:i] + full[i + 1 :] for i, letter in enumerate(full) if letter == "'"}


def test_fold_touches_typography_only():
    assert fold(" \u201cA\u201d\u2014b\u2212c\u2019 ") == '"A"-b-c\''
    assert fold("Café Ü") == "Café Ü"
