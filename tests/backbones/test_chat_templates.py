"""Templates are those of well-known models in their essentials, and some that are odd on purpose."""

import pytest
from small_tokenizers import backbone, byte_level, llama, marked

from coin_lightning.backbones.chat_templates import DATE, ChatTemplate, prompt_for
from coin_lightning.backbones.prompts import CHATML as CHATML_FORMAT
from coin_lightning.backbones.prompts import LLAMA_2 as LLAMA_2_FORMAT
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import ConfigError

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}" + CHATML
)
LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
QWEN2_VL = (  # strings or parts
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}<|im_end|>\n"
    "{% else %}{% for part in m['content'] %}{% if part['type'] == 'image' %}<img><image></img>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAVA = (  # parts only, no token ends an answer
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
THINKING = (  # of the last answer only, as Qwen3's
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'].split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MIXED = (  # parts from the user, text from the assistant
    "{% for m in messages %}{% if m['role'] == 'user' %}<|im_start|>{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% else %}{{ '->' + m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}->{% endif %}"
)
ONEVISION = (  # as llava-hf/llava-onevision-qwen2's: a blank behind the role, and none where generation begins
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + content['text'] }}"
    "{% endfor %}{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OTHER_IMAGE = QWEN2_VL.replace("<img><image></img>", "<|vision|>")
DATED = "{% if not date_string %}{{ raise_exception('no date') }}{% endif %}{{ date_string }}\n" + CHATML

ONE = [Turn("A cat", "No", images=1)]
TWO = [*ONE, Turn("Sure", "Yes")]


def made(template: str, tokenizer=byte_level) -> ChatTemplate:
    return ChatTemplate(tokenizer(template=template))


def learned(prompt: ChatTemplate, turns: list[Turn]) -> list[str]:
    text, spans, _ = prompt.render(turns)
    return [text[start:end] for start, end in spans]


@pytest.mark.parametrize(
    ("template", "text", "answers"),
    [
        (
            CHATML,
            "<|im_start|>user\n<image>\nA cat<|im_end|>\n<|im_start|>assistant\nNo<|im_end|>\n"
            "<|im_start|>user\nSure<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n",
            ["No<|im_end|>", "Yes<|im_end|>"],
        ),
        (
            DEFAULT_SYSTEM,
            "<|im_start|>system\nYou are helpful.<|im_end|>\n"
            "<|im_start|>user\n<image>\nA cat<|im_end|>\n<|im_start|>assistant\nNo<|im_end|>\n"
            "<|im_start|>user\nSure<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n",
            ["No<|im_end|>", "Yes<|im_end|>"],
        ),
        (
            QWEN2_VL,
            "<|im_start|>user\n<img><image></img>A cat<|im_end|>\n<|im_start|>assistant\nNo<|im_end|>\n"
            "<|im_start|>user\nSure<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n",
            ["No<|im_end|>", "Yes<|im_end|>"],
        ),
        (
            THINKING,
            "<|im_start|>user\n<image>\nA cat<|im_end|>\n<|im_start|>assistant\nNo<|im_end|>\n"
            "<|im_start|>user\nSure<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nYes<|im_end|>\n",
            ["No<|im_end|>", "Yes<|im_end|>"],  # the empty thoughts are given
        ),
        (
            MIXED,
            "<|im_start|><image>A cat->No<|im_end|><|im_start|>Sure->Yes<|im_end|>",
            ["No<|im_end|>", "Yes<|im_end|>"],
        ),
        (
            OTHER_IMAGE,
            "<|im_start|>user\n<image>\nA cat<|im_end|>\n<|im_start|>assistant\nNo<|im_end|>\n"
            "<|im_start|>user\nSure<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n",
            ["No<|im_end|>", "Yes<|im_end|>"],
        ),
        (
            ONEVISION,
            "<|im_start|>user <image>\nA cat<|im_end|><|im_start|>assistant\nNo<|im_end|>"
            "<|im_start|>user \nSure<|im_end|><|im_start|>assistant\nYes<|im_end|>",
            ["No<|im_end|>", "Yes<|im_end|>"],
        ),
    ],
    ids=["chatml", "default system", "parts", "thinking", "mixed", "another image token", "another blank"],
)
def test_templates_by_hand(template, text, answers):
    prompt = made(template)
    assert prompt.render(TWO).text == text
    assert learned(prompt, TWO) == answers
    assert prompt.end_of_turn == "<|im_end|>"
    quoted = [text[start:end] for start, end in prompt.render(TWO).plain]
    assert quoted == ["A cat", "No", "Sure", "Yes"]


def test_a_template_that_ends_an_answer_with_the_end_of_sequence():
    prompt = made(LLAMA_2, llama)
    text = "<s>[INST] <image>\nA cat [/INST] No </s><s>[INST] Sure [/INST] Yes </s>"
    assert prompt.render(TWO).text == text
    assert learned(prompt, TWO) == [" No </s>", " Yes </s>"]
    assert prompt.render([Turn("Sure")]).text == "<s>[INST] Sure [/INST]"
    assert prompt.render([Turn(" Sure\n", " Yes ")]).text == "<s>[INST] Sure [/INST] Yes </s>"  # it trims


def test_a_template_that_does_not_end_an_answer_gets_the_end_of_sequence():
    prompt = made(LLAVA, llama)
    text = "USER: <image>\nA cat ASSISTANT: No</s> USER: Sure ASSISTANT: Yes</s> "
    assert prompt.render(TWO).text == text
    assert learned(prompt, TWO) == [" No</s>", " Yes</s>"]
    assert prompt.render([Turn("Sure", images=1)]).text == "USER: <image>\nSure ASSISTANT:"


@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM, QWEN2_VL, THINKING, MIXED, OTHER_IMAGE, DATED])
@pytest.mark.parametrize("turns", [[Turn("A cat")], [Turn("A cat", images=1)], [*ONE, Turn("Sure")]])
def test_an_open_turn_is_what_the_tokenizer_writes_for_generation(template, turns):
    tokenizer = byte_level(template=template)
    prompt = ChatTemplate(tokenizer)
    closed = [*turns[:-1], Turn(turns[-1].question, "x", turns[-1].images)]
    messages = prompt.style.messages(closed, None)[:-1]
    expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, date_string=DATE)
    assert prompt.render(turns).text == expected + ("<think>\n\n</think>\n\n" if template == THINKING else "")
    assert len(prompt.render(turns).learned) == len(turns) - 1


def test_an_open_turn_behind_others_has_their_blanks_and_the_generations_own():
    assert made(ONEVISION).render([*ONE, Turn("Sure")]).text == (
        "<|im_start|>user <image>\nA cat<|im_end|><|im_start|>assistant\nNo<|im_end|>"
        "<|im_start|>user \nSure<|im_end|><|im_start|>assistant\n"
    )


@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM, QWEN2_VL, THINKING, MIXED, OTHER_IMAGE, ONEVISION])
def test_what_is_learned_follows_what_generation_is_given(template):
    prompt = made(template)
    asked = prompt.render([Turn("A cat", images=1)]).text
    told, spans, _ = prompt.render(ONE)
    assert told.startswith(asked)
    assert spans[0][0] == len(asked)


def test_the_same_rows_as_a_format_written_by_hand():
    assert backbone(byte_level(template=CHATML), "chat_template").tokens(made(CHATML).render(ONE)) == tuple(
        ids + extra
        for ids, extra in zip(
            backbone(byte_level(), "chatml").tokens(CHATML_FORMAT.render(ONE)),
            ([byte_level().convert_tokens_to_ids("Ċ")], [-100]),
            strict=True,
        )  # the line break behind the last turn
    )
    of_template = backbone(llama(LLAMA_2), "chat_template")
    assert of_template.tokens(of_template.prompt.render(TWO)) == backbone(llama(), "llama_2").tokens(
        LLAMA_2_FORMAT.render(TWO)
    )  # with one <s> in front, although both template and tokenizer write it


def test_token_by_token():
    small = backbone(byte_level(template=DEFAULT_SYSTEM), "chat_template")
    assert marked(small, [Turn("A cat", "No cat", images=1)]) == (
        "<|im_start|> system Ċ Y o u Ġ a r e Ġ h e l p f u l . <|im_end|> Ċ <|im_start|> user Ċ "
        "<image> <image> <image> <image> Ċ A Ġcat <|im_end|> Ċ <|im_start|> assistant Ċ [N] [o] [Ġcat] [<|im_end|>] Ċ"
    )
    assert small.end_id == 2
    no_end = backbone(llama(LLAVA), "chat_template")
    assert marked(no_end, [Turn("A cat", "No")]) == (
        "<s> ▁ USER : ▁ A ▁cat ▁ ASSISTANT : [▁No] [</s>] ▁ ▁"  # in front of what follows a marker Llama puts one more
    )


def test_markers_in_texts_stay_text():
    small = backbone(byte_level(template=CHATML), "chat_template")
    assert marked(small, [Turn("<|im_end|>", "<image>")]) == (
        "<|im_start|> user Ċ < | i m _ e n d | > <|im_end|> Ċ "
        "<|im_start|> assistant Ċ [<] [i] [m] [a] [g] [e] [>] [<|im_end|>] Ċ"
    )


def test_a_system_message():
    prompt = ChatTemplate(byte_level(template=DEFAULT_SYSTEM), "Be brief.")
    assert prompt.render([Turn("a")]).text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt.name == "chat_template with system 'Be brief.'"
    assert made(CHATML).name == "chat_template"


def test_a_template_that_tells_the_date_tells_the_same_on_every_day():
    assert made(DATED).render([Turn("a")]).text.startswith("26 Jul 2024\n<|im_start|>user\n")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (CHATML.replace("m['content']", "m['content'].upper()"), "every text just once"),
        (CHATML.replace("m['content']", "m['content'] * 2"), "every text just once"),
        ("{{ messages[0]['content'] }}", "every text just once"),
        ("{{ raise_exception('roles!') }}", "roles!"),
        (
            "{% for m in messages %}{{ '<|im_start|>' + m['content'] }}{% endfor %}"
            "{% if add_generation_prompt %}<think>\n{% endif %}",
            "not what stands before an answer",
        ),
    ],
    ids=["upper case", "twice", "no answer", "refuses", "another generation prompt"],
)
def test_a_template_whose_answers_cannot_be_found_is_refused(template, reason):
    with pytest.raises(ConfigError, match=f"cannot be used.*{reason}.*choose a prompt format by name"):
        made(template)


def test_a_row_that_the_template_changes_is_refused():
    """Stand-ins pass it, this text does not."""
    prompt = made(THINKING)
    with pytest.raises(ConfigError, match=r"changes one of the texts .*'so</think>Yes'"):
        prompt.render([Turn("a", "so</think>Yes")])


def test_without_a_template_or_an_end_there_is_no_prompt():
    with pytest.raises(ConfigError, match="the tokenizer has none; name a prompt format instead"):
        prompt_for("chat_template", byte_level())
    endless = llama(LLAVA)
    endless.eos_token = None
    with pytest.raises(ConfigError, match="neither template nor tokenizer has a token that ends an answer"):
        ChatTemplate(endless)


def test_prompts_by_name():
    assert prompt_for("chatml", byte_level()) == CHATML_FORMAT
    assert prompt_for("chatml", byte_level(), placeholder="<|x|>").render(ONE).text.count("<|x|>") == 1
    assert isinstance(prompt_for("chat_template", byte_level(template=CHATML)), ChatTemplate)
    with pytest.raises(ConfigError, match=r"backbone\.prompt='alpaca' is unknown"):
        prompt_for("alpaca", byte_level())
