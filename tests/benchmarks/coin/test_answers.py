"""Ten annotators and their most common answer."""

import pytest

from coin_lightning.benchmarks.coin.answers import annotators, most_common


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        (["a", "b", "b"], "b"),
        (["b", "a", "a", "b"], "b"),  # of equals, what comes first
        (["Nokia", "phone", "nokia", "phone", "nokia"], "nokia"),  # capitals aside 3 to 2; two wrote it small
        (["NOKIA", "Nokia", "phone"], "NOKIA"),
        ([" yes ", "yes", "no"], "yes"),
        (["", "", "x"], "x"),
        (["", " "], ""),
        ([], ""),
    ],
)
def test_most_common(answers, answer):
    assert most_common(answers) == answer


def test_texts_and_objects_are_the_same_ten():
    assert annotators([{"answer": "net", "answer_confidence": "maybe"}] * 10) == ["net"] * 10
    assert annotators([*"abcdefghij"]) == [*"abcdefghij"]


@pytest.mark.parametrize(
    ("value", "found"),
    [(["a"] * 9, "found 9"), (["a"] * 11, "found 11"), (None, "found NoneType"), ("aaaaaaaaaa", "found str")],
)
def test_other_numbers_are_told(value, found):
    assert found in annotators(value)


def test_what_is_no_text_is_told():
    assert annotators([{"answer": "a"}] * 9 + [{"answer": 3}]) == "'answers' holds an entry that is no text"
    assert annotators(["a"] * 9 + [None]) == "'answers' holds an entry that is no text"
