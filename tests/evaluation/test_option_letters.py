"""Which option an answer names, in both variants."""

import string

import pytest

from coin_lightning.evaluation.option_letters import named_option, reference_option

CHOICES = ["a dog", "a cat", "the horse", "2"]
FORMS = [
    "{}",
    "({})",
    "[{}]",
    "{}.",
    "{})",
    "**{}**",
    " {} ",
    "{}: text",
    "{}. text",
    "{}) text",
    "({}) text",
    "{}.text",
    "The answer is {}",
    "The answer is {}.",
    "The correct answer is ({}).",
    "answer: {}",
    "Answer is: {}",
    "I choose option {}.",
    "option {} is correct",
    "The answer is {} because of that.",
    "The best choice is {}",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("letter", "ABCD")
def test_listed_forms(form, letter):
    assert named_option(form.format(letter), CHOICES) == "ABCD".index(letter)


@pytest.mark.parametrize("form", FORMS)
def test_a_letter_without_choice_names_nothing(form):
    assert named_option(form.format("E"), CHOICES) is None


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("a dog", 0),
        ("Dog.", 0),
        ("A CAT", 1),
        ("horse", 2),
        ("two", 3),
        ("The answer is the horse.", 2),
        ("the correct answer: a cat", 1),
        ("c", 2),
        ("(c)", 2),
    ],
)
def test_texts_of_choices_and_small_letters(text, index):
    assert named_option(text, CHOICES) == index


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "It is a dog",
        "a bird",
        "The answer is a bird",
        "A or B",
        "A, B",
        "AB",
        "option A. option B.",
        "e.g. a dog",
        "1",
    ],
)
def test_nothing_is_named(text):
    assert named_option(text, CHOICES) is None


def test_a_text_of_two_choices_names_none():
    assert named_option("the cat", ["cat", "a cat", "dog"]) is None
    assert named_option("cat", ["cat", "a cat", "dog"]) == 0
    assert named_option("dog", ["cat", "a cat", "dog"]) == 2


@pytest.mark.parametrize(
    ("text", "choices", "index"),
    [
        ("The Sound of Music", ["the Sound of Music", "The Sound of Music"], 1),  # ScienceQA on titles
        ("The Sound of Music.", ["the Sound of Music", "The Sound of Music"], 1),
        ("THE SOUND OF MUSIC", ["the Sound of Music", "The Sound of Music"], None),
        ("The answer is the Sound of Music.", ["the Sound of Music", "The Sound of Music"], 0),
        ("Dear uncle Bob,", ["Dear uncle Bob,", "Dear Uncle Bob,"], 0),
        ("Is it raining?", ["Is it raining.", "Is it raining?"], 1),
        ("Is it raining", ["Is it raining.", "Is it raining?"], 0),
        ("\u201cHey Jude\u201d", ['"Hey Jude"', "Hey Jude"], 0),  # a typographer's quotes
        ("-24\u00b0C", ["24\u00b0C", "-24\u00b0C"], 1),
        ("24\u00b0C", ["24\u00b0C", "-24\u00b0C"], 0),
        ("\u221224 \u00b0C", ["24 \u00b0C", "-24 \u00b0C"], 1),  # a minus sign
        ("24\u00b0C", ["-24\u00b0C", "-24\u00b0F"], None),  # the sign is lost
        ("-24\u00b0C", ["24\u00b0C", "24\u00b0F"], None),
        ("-1000 g", ["-1,000 g", "1,000 g"], 0),
        ("5-10 minutes", ["5 - 10 minutes", "15 minutes"], 0),  # a range
        ("- two", ["1", "2"], 1),  # a dash
        ("- 24\u00b0C", ["-24\u00b0C", "24\u00b0C"], 0),
        ("\u2212 5", ["-5", "5"], 0),
        ("- 5", ["5", "6"], 0),  # an item of a list
        ("-5", ["5", "6"], None),
        ("5 -10 minutes", ["5-10 minutes", "15 minutes"], 0),
        ("20 \u00b0C -30 \u00b0C", ["20\u00b0C-30\u00b0C", "2"], None),
        ("-$5", ["$5", "$6"], None),
        ("-$5", ["-$5", "$5"], 0),
        ("It was -5 there", ["it was 5 there", "it was -5 there"], 1),
    ],
)
def test_choices_that_differ_in_capitals_marks_or_signs_only(text, choices, index):
    assert named_option(text, choices) == index


def test_the_text_of_a_choice_goes_before_a_leading_letter():
    assert named_option("A. Smith", ["B. Jones", "A. Smith"]) == 1


def test_letters_go_as_far_as_the_choices():
    many = [f"choice number {i}" for i in range(26)]
    assert [named_option(letter, many) for letter in string.ascii_uppercase] == list(range(26))


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("B", 1),
        ("B. x", 1),
        ("a bird", 0),  # the article
        ("It is a dog", 0),
        ("I say B", None),  # I stands alone first
        ("It's B", None),  # so does s
        ("dog", None),
        ("", None),
        ("E", None),  # four choices
        ("(d)", 3),
        ("_ B", None),  # the underscore is a word character
    ],
)
def test_reference_takes_the_first_lone_character(text, index):
    assert reference_option(text, CHOICES) == index


def test_reference_knows_five_letters():
    many = [str(i) for i in range(7)]
    assert [reference_option(letter, many) for letter in "ABCDEFG"] == [0, 1, 2, 3, 4, None, None]


@pytest.mark.parametrize(
    "text",
    [
        "answer" + " " * 200_000 + "z",
        "the " * 50_000,
        "answer is" * 20_000,
        "A" + "\n" * 200_000 + "x",
        "(" * 200_000,
        "1 -1 " * 50_000,
        "-" + " " * 200_000 + "1",
    ],
)
def test_texts_without_end_are_read_in_one_go(text):
    assert named_option(text, CHOICES) in (None, 0)  # would take minutes if any part were tried twice
    assert reference_option(text, CHOICES) in (None, 0)
