"""What a test set gives without looking."""

import pytest

from coin_lightning.backbones.box_formats import read_box
from coin_lightning.evaluation.cider import CIDErD
from coin_lightning.evaluation.guessing import Guess, best_guess, chance
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorers import Scoring, get_scorer
from coin_lightning.evaluation.side_by_side import score_all, score_fields


def asked(task: str, *references: dict) -> list[AnswerRecord]:
    return [AnswerRecord(task, f"q{at}", "?", "what was said", each) for at, each in enumerate(references)]


def choices(answer: int, *options: str) -> dict:
    return {"answer": "ABCDE"[answer], "answer_index": answer, "choices": list(options)}


def test_of_choices_the_most_frequent_letter_and_chance():
    records = asked(
        "scienceqa", choices(0, "x", "y"), choices(1, "x", "y"), choices(0, "x", "y", "z", "w"), choices(0, "y", "x")
    )
    guess = best_guess(records, get_scorer("scienceqa"))
    assert guess == Guess("A", 75.0, 100 * (0.5 + 0.5 + 0.25 + 0.5) / 4)
    assert chance(asked("gqa", {"answer": "yes"})) is None
    assert chance([]) is None


def test_the_answer_that_scores_most_is_not_always_the_most_frequent_one():
    """`red` stands in two references, but 8 of 10 annotators of one sample and 3 of another say `pink`."""
    said = [["pink"] * 8 + ["red"] * 2, ["blue"] * 6 + ["pink"] * 3 + ["red"]]
    records = asked("vqav2", *({"answers": answers, "answer": answers[0]} for answers in said))
    guess = best_guess(records, get_scorer("vqav2"))
    assert guess.answer == "pink"
    assert guess.score == pytest.approx(100 * (1 + (3 * 2 / 3 + 7 * 1) / 10) / 2)  # the official mean over nine of ten


def test_of_equal_answers_the_first_is_named_whatever_the_process():
    """Texts in a set are in another order in every process."""
    words = ["red", "blue", "green", "white", "black", "orange", "grey", "pink", "brown", "gold"]
    guess = best_guess(asked("vqav2", {"answers": words, "answer": "red"}), get_scorer("vqav2"))
    assert guess.answer == "red"


def test_of_boxes_the_middle_one_is_tried_too():
    boxes = ["[0.1,0.1,0.5,0.5]", "[0.2,0.2,0.6,0.6]", "[0.15,0.15,0.55,0.55]", "[0.8,0.8,0.9,0.9]"]
    guess = best_guess(asked("grounding", *({"answer_bbox": box} for box in boxes)), get_scorer("grounding"))
    assert guess.score == 75.0
    assert guess.answer in ("[0.15,0.15,0.55,0.55]", "[0.18,0.18,0.57,0.57]")
    apart = asked("grounding", *({"answer_bbox": box} for box in ("[0.1,0.1,0.5,0.5]", "[0.3,0.1,0.7,0.5]")))
    assert best_guess(apart, get_scorer("grounding")) == Guess("[0.20,0.10,0.60,0.50]", 100.0)  # overlaps both by 0.6


@pytest.mark.parametrize("numbers", ["unit", "percent_tags", "thousand_tags", "thousand", "thousand_boxes", "pixels"])
@pytest.mark.parametrize("frame", ["padded", "squashed", "original"])
def test_boxes_are_guessed_as_the_model_writes_them(frame, numbers):
    """Images are wide: a box of the padded frame, read as one of the whole image, would be another."""
    settings = {"frame": frame, "numbers": numbers, **({"shown": [400, 200]} if numbers == "pixels" else {})}
    boxes = ["[0.1,0.3,0.5,0.5]", "[0.2,0.3,0.6,0.5]", "[0.15,0.3,0.55,0.5]", "[0.8,0.6,0.9,0.7]"]
    entries = [{"answer_bbox": box, "box_format": settings, "size": [200, 100]} for box in boxes]
    guess = best_guess(asked("grounding", *entries), get_scorer("grounding"))
    assert guess.score == 75.0
    apart = [{**entries[0], "answer_bbox": box} for box in ("[0.1,0.3,0.5,0.7]", "[0.3,0.3,0.7,0.7]")]
    middle = best_guess(asked("grounding", *apart), get_scorer("grounding"))
    assert middle.score == 100.0  # of the box between them alone
    found = read_box(middle.answer, settings, (200, 100))
    assert found == pytest.approx((0.2, 0.3, 0.6, 0.7), abs=0.01)


def test_a_score_over_all_records_is_guessed_too_and_references_without_answers_are_not():
    captions = asked("captions", *({"answers": [text, text]} for text in ("a red bus", "a red bus", "two dogs")))
    guess = best_guess(captions, CIDErD())
    assert (guess.answer, guess.chance) == ("a red bus", None)
    assert guess.score > 0
    assert best_guess(asked("odd", {"other": 1}), CIDErD()) is None


def test_the_scores_of_a_cell_hold_guesses_where_they_were_asked_for():
    records = asked("imagenet", {"answer": "Crane"}, {"answer": "Crane"}, {"answer": "Owl"})
    scoring = Scoring.of("imagenet", {})
    assert "guesses" not in score_fields({"imagenet": score_all(records, scoring)}, "corrected")
    fields = score_fields({"imagenet": score_all(records, scoring, guesses=True)}, "corrected")
    assert fields["guesses"] == {"imagenet": {"answer": "Crane", "score": pytest.approx(200 / 3), "chance": None}}
    assert fields["variants"]["corrected"]["guesses"] == fields["guesses"]


def test_many_records_choose_by_a_part_and_count_on_all(monkeypatch):
    monkeypatch.setattr("coin_lightning.evaluation.guessing.RECORDS", 5)
    records = asked("imagenet", *({"answer": "Crane" if at % 2 else "Owl"} for at in range(21)))
    guess = best_guess(records, get_scorer("imagenet"))
    assert guess == Guess("Crane", pytest.approx(100 * 10 / 21)) or guess == Guess("Owl", pytest.approx(100 * 11 / 21))
