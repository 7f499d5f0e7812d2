"""Soft accuracy against the definition with one annotator left out at a time."""

import random

import pytest

from coin_lightning.evaluation.vqa_accuracy import leave_one_out_accuracy, soft_accuracy


def slow(prediction: str, answers: list[str]) -> float:
    scores = []
    for left_out in range(len(answers)):
        others = answers[:left_out] + answers[left_out + 1 :]
        scores.append(min(1.0, others.count(prediction) / 3))
    return sum(scores) / len(scores)


@pytest.mark.parametrize(("matches", "score"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (7, 1), (10, 1)])
def test_table_for_ten_annotators(matches, score):
    assert leave_one_out_accuracy(matches) == pytest.approx(score, abs=1e-12)


def test_against_leaving_out_each_annotator():
    rng = random.Random(0)
    for _ in range(500):
        answers = [rng.choice("abcd") for _ in range(10)]
        prediction = rng.choice("abcde")
        assert soft_accuracy(prediction, answers, str) == pytest.approx(slow(prediction, answers), abs=1e-12)


@pytest.mark.parametrize("annotators", [4, 5, 20])
def test_formula_for_other_numbers_of_annotators(annotators):
    for matches in range(annotators + 1):
        answers = ["x"] * matches + ["y"] * (annotators - matches)
        assert leave_one_out_accuracy(matches, annotators) == pytest.approx(slow("x", answers), abs=1e-12)


def test_both_sides_are_normalized():
    assert soft_accuracy("YES", ["Yes"] * 2 + ["yes"] * 2 + ["no"] * 6, str.lower) == 1.0


@pytest.mark.parametrize("count", [0, 1, 9, 11])
def test_anything_but_ten_answers_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} annotator answers"):
        soft_accuracy("x", ["x"] * count, str)
