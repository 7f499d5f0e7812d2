import pytest

from coin_lightning.backbones.prompts import CHATML, FORMATS, VICUNA_V1, Turn, picture_first, prompt_format
from coin_lightning.errors import ConfigError

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def learned(text: str, spans: list[tuple[int, int]]) -> list[str]:
    return [text[start:end] for start, end in spans]


def test_formats_are_found_by_name():
    assert FORMATS == {"chatml": CHATML, "vicuna_v1": VICUNA_V1}


def test_chatml_with_two_turns():
    text, spans = CHATML.render([Turn("<image>\nWhat?", "A cat"), Turn("Sure?", "Yes")])
    assert text == (
        "<|im_start|>user\n<image>\nWhat?<|im_end|>\n<|im_start|>assistant\nA cat<|im_end|>\n"
        "<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>"
    )
    assert learned(text, spans) == ["A cat<|im_end|>", "Yes<|im_end|>"]


def test_vicuna_with_two_turns_as_llava_writes_it():
    text, spans = VICUNA_V1.render([Turn("<image>\nWhat?", "A cat"), Turn("Sure?", "Yes")])
    assert text == f"{VICUNA_SYSTEM} USER: <image>\nWhat? ASSISTANT: A cat</s>USER: Sure? ASSISTANT: Yes</s>"
    assert learned(text, spans) == [" A cat</s>", " Yes</s>"]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (CHATML, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"),
        (VICUNA_V1, f"{VICUNA_SYSTEM} USER: Why? ASSISTANT:"),
    ],
    ids=["chatml", "vicuna_v1"],
)
def test_an_open_turn_ends_where_generation_begins(prompt, text):
    assert prompt.render([Turn("Why?")]) == (text, [])


@pytest.mark.parametrize("prompt", FORMATS.values(), ids=FORMATS)
def test_what_is_learned_follows_exactly_what_generation_is_given(prompt):
    asked, _ = prompt.render([Turn("Why?")])
    told, spans = prompt.render([Turn("Why?", "Because")])
    assert told.startswith(asked)
    assert spans == [(len(asked), len(told))]


@pytest.mark.parametrize("prompt", FORMATS.values(), ids=FORMATS)
def test_an_answer_equal_to_the_question_is_learned_at_its_own_place(prompt):
    text, spans = prompt.render([Turn("red", "red"), Turn("red", "red")])
    assert learned(text, spans) == [f"{prompt.answer_lead}red{prompt.end_of_turn}"] * 2
    assert spans[0][0] > text.index("red")


@pytest.mark.parametrize(
    "text", ["<image>\nWhat is it?", "What is it?\n<image>", "What is it?", " What <image>is it?\n"]
)
def test_the_picture_comes_first_wherever_the_row_had_it(text):
    assert picture_first(text, True).count("<image>") == 1
    assert picture_first(text, True) == "<image>\nWhat is it?"
    assert picture_first(text, False) == "What is it?"


def test_an_unknown_format_is_refused_with_the_known_ones():
    assert prompt_format("chatml") is CHATML
    with pytest.raises(ConfigError, match=r"backbone\.prompt='alpaca' is unknown; use one of chatml, vicuna_v1"):
        prompt_format("alpaca")
