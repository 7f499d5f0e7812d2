"""What is official in the corrected rules; further cases in `golden`."""

import random

import pytest

from coin_lightning.evaluation import corrected_rules as rules


def ten(**counts: int) -> dict:
    answers = [answer for answer, count in counts.items() for _ in range(count)]
    return {"answer": answers[0], "answers": answers}


def test_vqa_is_soft_with_ten_annotators_and_exact_without():
    reference = ten(red=3, blue=6, Blue=1)
    assert [rules.vqa(text, reference) for text in ("red", "BLUE.", "green")] == [0.9, 1.0, 0.0]
    for few in (["blue"] * 9, [], None):
        assert rules.vqa("the red", {"answer": "red", "answers": few}) == 1.0
        assert rules.vqa("blue", {"answer": "red", "answers": few}) == 0.0


def test_vqa_and_textvqa_differ_in_commas_colons_aside():
    reference = ten(**{"red white": 5, "redwhite": 5})
    assert (rules.vqa("red,white", reference), rules.textvqa("red,white", reference)) == (1.0, 1.0)
    assert rules.vqa("red,white", ten(redwhite=10)) == 0.0
    assert rules.textvqa("red,white", ten(redwhite=10)) == 1.0


def test_vqa_against_leaving_out_each_annotator():
    words, rng = ["red", "Blue", "two", "a dog", "x-ray"], random.Random(0)
    plain = {"red": "red", "Blue": "blue", "two": "2", "a dog": "dog", "x-ray": "x ray"}
    for _ in range(300):
        answers, prediction = [rng.choice(words) for _ in range(10)], rng.choice(words)
        others = [[plain[a] for j, a in enumerate(answers) if j != i] for i in range(10)]
        expected = sum(min(1, left.count(plain[prediction]) / 3) for left in others) / 10
        assert rules.vqa(prediction, {"answer": "", "answers": answers}) == pytest.approx(expected, abs=1e-12)
        assert rules.textvqa(prediction, {"answers": answers}) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("prediction", "score"),
    [("Yes", 1), (" yes.. ", 1), ("yes .", 1), ("the yes", 0), ("ye", 0), ("yes!", 0), ("", 0), ("...", 0)],
)
def test_gqa_is_exact(prediction, score):
    assert rules.gqa(prediction, {"answer": "yes"}) == score


def test_a_box_is_read_in_the_format_that_the_sample_was_asked_in():
    truth = {"answer_bbox": "[0.25,0.375,0.75,0.625]", "size": [200, 100]}
    asked = {**truth, "box_format": {"frame": "squashed", "numbers": "percent_tags"}}
    assert rules.grounding("{<25><25><75><75>}", asked) == 1.0
    assert rules.grounding("{<25><25><75><75>}", truth) == 0.0
    assert rules.grounding("{<25><25><75>}", asked) is None
    with pytest.raises(ValueError, match="is not four numbers"):
        rules.grounding("[0,0,1,1]", {"answer_bbox": "left"})


def test_scienceqa_refuses_an_index_without_choice():
    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"answer_index {index} is no index into 2 choices"):
            rules.scienceqa("A", {"choices": ["x", "y"], "answer_index": index})


def test_imagenet_accepts_synonyms_and_no_parts():
    label = {"answer": "goldfish, Carassius auratus"}
    assert [rules.imagenet(text, label) for text in ("Goldfish.", "carassius auratus", "fish", "goldfish, ")] == [
        1,
        1,
        0,
        1,
    ]
