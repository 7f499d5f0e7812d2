"""The two normal forms of short answers."""

import random

import pytest

from coin_lightning.evaluation.answer_text import (
    CACHED_LENGTH,
    CONTRACTIONS,
    challenge_form,
    evalai_form,
    evalai_normalize,
    fold,
    normalize_answer,
)


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Red  Car.", "red car"),
        ("red, white", "red white"),
        ("red,white", "red white"),
        ("1,000", "1000"),
        ("1,000-2,000 (ca)", "10002000 ca"),  # a comma between digits: no mark leaves a space
        ("x-ray", "x ray"),
        ("x-ray - scan", "xray scan"),
        ("10:30", "10:30"),
        ("dog's", "dog's"),
        ("U.S.", "us"),
        ("3.5", "3.5"),
        ("two dont", "2 don't"),
        ("the", "the"),
        ("A", "a"),
        ("?!", "?!"),
        ("Don\u2019t", "don't"),
        ("stop\nnow\t!", "stop now"),
        ("", ""),
    ],
)
def test_challenge_form_is_the_vqa_challenges_processing(text, expected):
    assert challenge_form(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("dog's", "dog 's"), ("1,5", "15"), ("red,blue", "redblue"), ("what? now", "what now"), ("a", "a"), ("?", "?")],
)
def test_evalai_form_is_the_textvqa_processing(text, expected):
    assert evalai_form(text) == expected


@pytest.mark.parametrize("form", [normalize_answer, challenge_form, evalai_form, evalai_normalize])
def test_a_text_without_end_is_processed_like_a_short_one_and_not_kept(form):
    word, many = "isnt 3,5 x-y ", 20_000 // 13
    assert form(word * many) == " ".join([form(word)] * many)
    assert len(word * many) > CACHED_LENGTH


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
        assert (challenge_form(text) == "") == (evalai_form(text) == "") == (text.strip() == ""), text


def test_case_outer_space_and_a_last_point_never_matter():
    for text in some_texts(2000, ["cat", "Dog", "two", "the ", " ", "x-ray", "7"]):
        if text.strip():
            assert normalize_answer(f" {text.upper()}. ") == normalize_answer(text), text


def test_all_forms_agree_on_plain_words():
    for text in some_texts(2000, ["cat ", "Two ", "the dog ", "isnt ", "7 ", "red. "]):
        if evalai_normalize(text):
            forms = normalize_answer, challenge_form, evalai_form, evalai_normalize
            assert len({form(text) for form in forms}) == 1, text


def test_contractions_lack_exactly_one_apostrophe():
    assert len(CONTRACTIONS) > 100
    for short, full in CONTRACTIONS.items():
        assert short in {full[:i] + full[i + 1 :] for i, letter in enumerate(full) if letter == "'"}


def test_fold_touches_typography_only():
    assert fold(" \u201cA\u201d\u2014b\u2212c\u2019 ") == '"A"-b-c\''
    assert fold("Café Ü") == "Café Ü"
