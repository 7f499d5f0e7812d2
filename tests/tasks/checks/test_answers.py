"""Distribution and length of answers, hand-worked."""

from collections import Counter

from coin_lightning.backbones import tiny
from coin_lightning.tasks.checks.answers import TOGETHER, answer_tokens, balance, lengths


def test_balance_by_hand():
    found = balance(Counter(yes=4, no=2, red=1, blue=1), Counter(yes=1, no=9))
    assert (found.count, found.distinct, found.majority, found.bits, found.unseen) == (8, 4, 0.5, 1.75, 0.25)
    assert found.top == [("yes", 4), ("no", 2), ("red", 1), ("blue", 1)]


def test_one_answer_only_has_no_information():
    found = balance(Counter(yes=3), None)
    assert (found.majority, found.bits, found.unseen) == (1, 0, None)
    assert str(found.bits) == "0.0"  # not -0.0


def test_no_answers_at_all():
    found = balance(Counter(), Counter())
    assert (found.count, found.majority, found.bits, found.unseen, found.top) == (0, 0, 0, 0, [])


def test_at_most_ten_answers_are_named():
    assert len(balance(Counter({str(at): 1 for at in range(50)}), None).top) == 10


def test_boxes_are_shown_by_their_area():
    found = balance(Counter({"[0,0,1,1]": 2, "[0,0,.1,.1]": 1}), None, [1.0, 1.0, 0.01, 0.0])
    assert found.top == [
        ("0 to 1 % of the frame", 1), ("1 to 5 % of the frame", 1), ("5 to 20 % of the frame", 0),
        ("20 to 50 % of the frame", 0), ("50 to 100 % of the frame", 2),
    ]  # fmt: skip


def test_tokens_are_those_of_training_without_the_end_of_turn():
    """The tiny backbone has one token per byte."""
    backbone = tiny.load()
    assert answer_tokens(backbone, ["", "yes", "ü", "a red car"]) == [0, 3, 2, 9]
    vicuna = tiny.load(prompt="vicuna_v1")  # its blank before the answer is a token of its own here
    assert answer_tokens(vicuna, ["yes", "B"]) == [3, 1]


def test_more_answers_than_go_into_one_call():
    texts = ["x" * (at % 7) for at in range(TOGETHER + 5)]
    assert answer_tokens(tiny.load(), texts) == [len(text) for text in texts]
    assert answer_tokens(tiny.load(), []) == []


def test_lengths_by_hand():
    tokens = {"a": 1, "bb": 2, "ccc": 3, "long": 9}
    found = lengths(tokens, Counter(a=10, bb=6, ccc=3, long=1), limit=3)
    assert (found.longest, found.p95, found.limit, found.over) == (9, 3, 3, 1)
    assert found.histogram == [0, 10, 6, 3, 0, 0, 1]  # 0..5 tokens, and everything longer


def test_an_answer_of_the_limit_does_not_exceed_it():
    found = lengths({"a": 4}, Counter(a=2), limit=4)
    assert (found.over, found.p95, found.histogram) == (0, 4, [0, 0, 0, 0, 2, 0])


def test_no_answers_have_no_length():
    found = lengths({}, Counter(), limit=4)
    assert (found.longest, found.p95, found.over, sum(found.histogram)) == (0, 0, 0, 0)
