import pytest
from small_tokenizers import backbone, byte_level, llama, marked, read

from coin_lightning.backbones.prompts import (
    CHATML,
    FORMATS,
    LLAMA_2,
    MINIGPT_V2,
    QWEN,
    QWEN_REFERENCE,
    VICUNA_V1,
    Page,
    Turn,
    overlaps,
    prompt_format,
    without_placeholders,
)
from coin_lightning.errors import ConfigError

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
ONE = [Turn("What?", "A cat", images=1)]
TWO = [*ONE, Turn("Sure?", "Yes")]
IMAGE = " ".join(["<image>"] * 4)


def learned(prompt, turns: list[Turn]) -> list[str]:
    text, spans, _ = prompt.render(turns)
    return [text[start:end] for start, end in spans]


def quoted(prompt, turns: list[Turn]) -> list[str]:
    text, _, spans = prompt.render(turns)
    return [text[start:end] for start, end in spans]


def test_formats_are_found_by_name():
    assert {name: prompt.name for name, prompt in FORMATS.items()} == {name: name for name in FORMATS}
    assert list(FORMATS) == ["chatml", "vicuna_v1", "qwen", "qwen_reference", "llama_2", "minigpt_v2"]


@pytest.mark.parametrize(
    ("prompt", "text", "answers"),
    [
        (
            CHATML,
            "<|im_start|>user\n<image>\nWhat?<|im_end|>\n<|im_start|>assistant\nA cat<|im_end|>\n"
            "<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>",
            ["A cat<|im_end|>", "Yes<|im_end|>"],
        ),
        (
            VICUNA_V1,
            f"{VICUNA_SYSTEM} USER: <image>\nWhat? ASSISTANT: A cat</s>USER: Sure? ASSISTANT: Yes</s>",
            [" A cat</s>", " Yes</s>"],
        ),
        (
            QWEN,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nPicture 1: <img><image></img>\nWhat?<|im_end|>\n<|im_start|>assistant\nA cat<|im_end|>\n"
            "<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>",
            ["A cat<|im_end|>", "Yes<|im_end|>"],
        ),
        (
            LLAMA_2,
            "[INST] <image>\nWhat? [/INST] A cat </s><s>[INST] Sure? [/INST] Yes </s>",
            [" A cat </s>", " Yes </s>"],
        ),
        (
            MINIGPT_V2,
            "[INST] <Img><image></Img> What?  [/INST] A cat</s><s>[INST] Sure?  [/INST] Yes</s>",
            [" A cat</s>", " Yes</s>"],
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_two_turns_with_a_image_by_hand(prompt, text, answers):
    assert prompt.render(TWO).text == text
    assert learned(prompt, TWO) == answers
    assert quoted(prompt, TWO) == ["What?", "A cat", "Sure?", "Yes"]


def test_qwens_own_loss_also_counts_the_markers_of_every_turn():
    text = QWEN_REFERENCE.render(TWO).text
    assert text == QWEN.render(TWO).text + "\n"
    marks = sorted(QWEN_REFERENCE.render(TWO).learned)
    assert "".join(text[start:end] for start, end in marks if text[start:end].startswith("<|im_")) == (
        "<|im_start|><|im_end|>\n" * 5  # system, and two questions with their answers
    )
    assert [piece for piece in learned(QWEN_REFERENCE, TWO) if not piece.startswith("<|")] == [
        "A cat<|im_end|>", "Yes<|im_end|>",
    ]  # fmt: skip
    assert learned(QWEN_REFERENCE, [Turn("What?")]) == []


def test_a_marker_in_somebodys_text_is_not_learned_as_one():
    turns = [Turn("Say <|im_start|>", "No")]
    assert learned(QWEN_REFERENCE, turns).count("<|im_start|>") == 3
    assert QWEN_REFERENCE.render(turns).text.count("<|im_start|>") == 4


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (CHATML, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"),
        (VICUNA_V1, f"{VICUNA_SYSTEM} USER: Why? ASSISTANT:"),
        (
            QWEN,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (LLAMA_2, "[INST] Why? [/INST]"),
        (MINIGPT_V2, "[INST] Why?  [/INST]"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_open_turn_without_a_image_ends_where_generation_begins(prompt, text):
    assert prompt.render([Turn("Why?")]) == (text, [], [(text.index("Why?"), text.index("Why?") + 4)])


@pytest.mark.parametrize("prompt", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("image", [False, True])
def test_what_is_learned_follows_exactly_what_generation_is_given(prompt, image):
    asked = prompt.render([Turn("Why?", images=int(image))]).text
    told, spans, _ = prompt.render([Turn("Why?", "Because", image)])
    assert told.startswith(asked)
    assert spans[0] == (len(asked), len(told) - len(prompt.closing))
    assert asked.count("<image>") == image


@pytest.mark.parametrize("prompt", FORMATS.values(), ids=FORMATS)
def test_an_answer_equal_to_the_question_is_learned_at_its_own_place(prompt):
    text, spans, _ = prompt.render([Turn("red", "red"), Turn("red", "red")])
    ending = f"{prompt.answer_lead}red{prompt.answer_trail}{prompt.end_of_turn}"
    assert [text[start:end] for start, end in spans[:2]] == [ending] * 2
    assert spans[0][0] > text.index("red")


def test_another_system_message_or_none():
    said = prompt_format("llama_2", "Be brief.").render(TWO).text
    assert said.startswith("[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n<image>\nWhat? [/INST] A cat </s><s>[INST] Sure?")
    assert (
        prompt_format("chatml", "Hm.").render([Turn("a")]).text.startswith("<|im_start|>system\nHm.<|im_end|>\n<|im_st")
    )
    assert prompt_format("vicuna_v1", "").render([Turn("a")]).text == "USER: a ASSISTANT:"
    assert prompt_format("llama_2", "Be brief.").name == "llama_2 with system 'Be brief.'"
    assert prompt_format("qwen") is QWEN


# token by token

QWEN_HEAD = "<|im_start|> system Ċ Y o u Ġ a r e Ġ a Ġ h e l p f u l Ġ assistant . <|im_end|> Ċ"


def test_qwen_token_by_token():
    small = backbone(byte_level(), "qwen")
    shown = f"P i c t u r e Ġ 1 : Ġ <img> {IMAGE} </img> Ċ"
    assert marked(small, [Turn("A cat", "No cat", images=1), Turn("a", "b")]) == (
        f"{QWEN_HEAD} <|im_start|> user Ċ {shown} A Ġcat <|im_end|> Ċ "
        "<|im_start|> assistant Ċ [N] [o] [Ġcat] [<|im_end|>] Ċ "
        "<|im_start|> user Ċ a <|im_end|> Ċ <|im_start|> assistant Ċ [b] [<|im_end|>]"
    )
    assert marked(small, [Turn("a")]) == f"{QWEN_HEAD} <|im_start|> user Ċ a <|im_end|> Ċ <|im_start|> assistant Ċ"


def test_qwens_own_loss_token_by_token():
    head = QWEN_HEAD.replace("<|im_start|>", "[<|im_start|>]").replace("<|im_end|> Ċ", "[<|im_end|>] [Ċ]")
    assert marked(backbone(byte_level(), "qwen_reference"), [Turn("a", "b")]) == (
        f"{head} [<|im_start|>] user Ċ a [<|im_end|>] [Ċ] [<|im_start|>] assistant Ċ [b] [<|im_end|>] [Ċ]"
    )


OPEN, CLOSE = "<0x5B> I N S T <0x5D>", "<0x5B> <0x2F> I N S T <0x5D>"  # [INST] [/INST]


def test_minigpt_token_by_token():
    small = backbone(llama(), "minigpt_v2")
    tags = [f"<0x3C> {'<0x2F> ' if closing else ''}I m g <0x3E>" for closing in (False, True)]
    assert marked(small, [Turn("A cat", "No", images=1), Turn("a", "cat")]) == (
        f"<s> ▁ {OPEN} ▁ {tags[0]} {IMAGE} ▁ {tags[1]} ▁ A ▁cat ▁ ▁ {CLOSE} [▁No] [</s>] "
        f"<s> ▁ {OPEN} ▁ a ▁ ▁ {CLOSE} [▁cat] [</s>]"
    )
    assert marked(small, [Turn("a")]) == f"<s> ▁ {OPEN} ▁ a ▁ ▁ {CLOSE}"


def test_llama_2_token_by_token():
    small = backbone(llama(), "llama_2", system="Be.")
    asked = " ".join(f"<0x{ord(char):02X}>" if char in "<>" else "S Y S" for char in "<<S>>")
    ended = asked.replace("S Y S", "<0x2F> S Y S")
    assert marked(small, [Turn("A cat", "No", images=1), Turn("a", "cat")]) == (
        f"<s> ▁ {OPEN} ▁ {asked} \n B e . \n {ended} \n \n {IMAGE} ▁ \n A ▁cat ▁ {CLOSE} [▁No] [▁] [</s>] "
        f"<s> ▁ {OPEN} ▁ a ▁ {CLOSE} [▁cat] [▁] [</s>]"
    )


def test_vicuna_token_by_token():
    small = backbone(llama(), "vicuna_v1", system="Be.")
    assert marked(small, [Turn("A cat", "No", images=1), Turn("a", "cat")]) == (
        f"<s> ▁ B e . ▁ USER : ▁ {IMAGE} ▁ \n A ▁cat ▁ ASSISTANT : [▁No] [</s>] "
        "▁ USER : ▁ a ▁ ASSISTANT : [▁cat] [</s>]"
    )
    assert marked(small, [Turn("A cat", "No")]) == "<s> ▁ B e . ▁ USER : ▁ A ▁cat ▁ ASSISTANT : [▁No] [</s>]"


def test_chatml_token_by_token():
    asked = "<|im_start|> user Ċ a Ġcat <|im_end|> Ċ <|im_start|> assistant Ċ"
    assert marked(backbone(byte_level(), "chatml"), [Turn("a cat", "N")]) == f"{asked} [N] [<|im_end|>]"


def test_tags_that_the_project_wrote_are_tokens_and_others_are_not():
    small = backbone(byte_level(), "qwen")
    box = "<box>(1,2),(3,4)</box>"
    assert read(small, [Turn("a", box, tags=True)])[1] == ["<box>", *"(1,2),(3,4)", "</box>", "<|im_end|>"]
    assert read(small, [Turn("a", box)])[1] == [*box, "<|im_end|>"]


# pieces


def test_a_page_remembers_its_pieces():
    page = Page()
    page.mark("<a>")
    page.quote("bc")
    page.quote("")
    page.learn_from(1)
    assert page.rendered() == ("<a>bc", [(1, 5)], [(3, 5)])


def test_spans_overlap_when_they_share_a_character():
    assert overlaps((2, 4), [(0, 1), (3, 9)])
    assert not overlaps((2, 4), [(0, 2), (4, 9)])
    assert not overlaps((2, 2), [(2, 3)])
    assert not overlaps((2, 4), [])


@pytest.mark.parametrize(
    "text", ["<image>\nWhat is it?", "What is it?\n<image>", "What is it?", " <image>What is it?\n"]
)
def test_the_placeholder_is_dropped_at_either_end(text):
    assert without_placeholders(text) == "What is it?"


def test_nothing_is_taken_out_of_a_sentence():
    assert without_placeholders("Compare <image> with <image>.") == "Compare <image> with <image>."


def test_an_unknown_format_is_refused_with_the_known_ones():
    assert prompt_format("chatml") is CHATML
    with pytest.raises(
        ConfigError, match=r"backbone\.prompt='alpaca' is unknown; use one of chatml, vicuna_v1, .*chat_template$"
    ):
        prompt_format("alpaca")
