"""What two files share, against a slow direct comparison."""

import random

import pytest

from coin_lightning.tasks.checks.questions import Questions, hash64, question_body, repeated, shared
from coin_lightning.tasks.image_ledger import ImageFacts

Sample = tuple[str | None, str]


def taken(samples: list[Sample]) -> Questions:
    questions = Questions()
    for number, (image, text) in enumerate(samples):
        questions.add(text, [] if image is None else [image], number)
    return questions


def facts(**contents: int) -> dict[str, ImageFacts]:
    """Images by name; equal numbers are equal bytes."""
    return {name: ImageFacts(4, 4, bytes([number]) * 32) for name, number in contents.items()}


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("What is it?", "what is it?"),
        ("<image>\nWhat  IS it?", "what is it?"),
        ("What is it?\nAnswer in a word.", "what is it?"),
        ("What is it?\nA. yes\nB. no\nAnswer with the letter.", "what is it? a. yes b. no"),
        ("\nAnswer", "answer"),
        ("<image>", ""),
    ],
)
def test_the_instruction_is_no_part_of_a_question(text, body):
    assert question_body(text) == body


def test_hashes_are_the_same_everywhere():
    assert hash64("a") == 0x2F42665B399EF840
    assert hash64("\ud800") != hash64("a")  # half a character is no reason to stop


def test_the_same_question_about_the_same_bytes_is_found():
    train = taken([("a", "Who?\nShort."), ("b", "Who?"), (None, "How?")])
    test = taken([("copy", "Who?\nOther instruction."), ("c", "Who?"), (None, "how?"), ("a", "When?")])
    found = shared(train, test, facts(a=1, copy=1, b=2, c=3))
    assert found.questions == [(0, 0)]
    assert found.texts == [(2, 2)]
    assert found.same_path == ["a"]
    assert found.same_content == [("copy", "a")]


def test_a_text_with_and_without_a_image_is_not_the_same_question():
    found = shared(taken([(None, "Who?")]), taken([("a", "Who?")]), facts(a=1))
    assert (found.questions, found.texts) == ([], [])


def about(*samples: tuple[tuple[str, ...], str]) -> Questions:
    """Questions about several images."""
    questions = Questions()
    for number, (images, text) in enumerate(samples):
        questions.add(text, images, number)
    return questions


def test_questions_about_several_images_are_the_same_when_the_images_are():
    train = about((("c",), "How?"), (("a", "b"), "Who?"), (("x", "a"), "Where?"), (("a",), "When?"))
    test = about((("a", "b"), "Who?"), (("b", "a"), "Who?"), (("a",), "Who?"), (("y", "a"), "Where?"),
                 (("a",), "when?"), (("copy", "b"), "Who?"))  # fmt: skip
    found = shared(train, test, facts(a=1, b=2, c=3, x=4, y=5, copy=1))
    assert found.questions == [(0, 1), (4, 3), (5, 1)]
    assert repeated(
        about((("a", "b"), "Who?"), (("b",), "Who?"), (("copy", "b"), "Who?")), facts(a=1, b=2, copy=1)
    ) == [(2, 0)]


def test_a_image_that_could_not_be_decoded_goes_by_its_path():
    found = shared(taken([("a", "Who?")]), taken([("a", "Who?"), ("b", "Who?")]), {})
    assert found.questions == [(0, 0)]
    assert found.same_content == []


def test_a_sample_with_several_shared_questions_counts_once():
    train = taken([("a", "Who?"), ("a", "When?")])
    test = Questions()
    for text in ("Who?", "When?"):
        test.add(text, ["a"], 0)
    assert shared(train, test, facts(a=1)).questions == [(0, 0)]


def test_repeated_questions_within_a_file():
    questions = taken([("a", "Who?"), ("b", "Who?"), ("copy", "Who?"), ("a", "who? "), (None, "Who?"), (None, "Who?")])
    assert repeated(questions, facts(a=1, copy=1, b=2)) == [(2, 0), (3, 0), (5, 4)]


def test_empty_files_share_nothing():
    found = shared(Questions(), taken([("a", "Who?")]), facts(a=1))
    assert (found.questions, found.texts, found.same_path, found.same_content) == ([], [], [], [])
    assert repeated(Questions(), {}) == []


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_comparing_every_pair(seed):
    draw = random.Random(seed)
    images = facts(a=1, b=2, c=3, d=1, e=2)

    def samples(count: int) -> list[Sample]:
        return [(draw.choice([None, *images]), draw.choice("uvwxyz")) for _ in range(count)]

    train, test = samples(15), samples(15)

    def same(first: Sample, second: Sample) -> bool:
        if first[0] is None or second[0] is None:
            return first == second
        return images[first[0]] == images[second[0]] and first[1] == second[1]

    direct = {at for at, mine in enumerate(test) if any(same(mine, theirs) for theirs in train)}
    found = shared(taken(train), taken(test), images)
    assert {mine for mine, _ in found.questions + found.texts} == direct
    assert all(same(test[mine], train[theirs]) for mine, theirs in found.questions + found.texts)
