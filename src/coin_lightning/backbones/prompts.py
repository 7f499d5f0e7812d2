"""How a conversation becomes text: the turn markers a backbone was trained with, and which characters the loss counts.

Only answers and their end-of-turn marker are learned; everything a user or the system says is context
(LLaVA, arXiv 2304.08485, section 4.2). `qwen_reference` is the exception, as Qwen-VL's own code is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from coin_lightning.errors import ConfigError

IMAGE = "<image>"
"""Placeholder for one image in a text; it becomes as many image tokens as the tower gives."""
NUMBER = "{number}"
CHAT_TEMPLATE = "chat_template"
"""Name of the prompt that the tokenizer brings along (`chat_templates.ChatTemplate`)."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Turn:
    """One question with its answer.

    Attributes:
        question: without placeholders for images.
        answer: None leaves the turn open for generation.
        images: how many images are shown with the question; the prompt says where.
        tags: the answer was written by this project in the backbone's own notation (a box), so that markers in it are
            meant as such. Everywhere else a marker in a text is ordinary text.
    """

    question: str
    answer: str | None = None
    images: int = 0
    tags: bool = False


class Rendered(NamedTuple):
    """Text of a conversation with the character spans `[start, end)` that are learned, and those of somebody's text."""

    text: str
    learned: list[Span]
    plain: list[Span]


class Prompt(Protocol):
    """What a backbone needs of its prompt."""

    @property
    def name(self) -> str: ...
    @property
    def end_of_turn(self) -> str: ...
    @property
    def box_numbers(self) -> str: ...
    def render(self, turns: Sequence[Turn]) -> Rendered: ...


class Page:
    """A text that grows piece by piece and remembers what the pieces are."""

    def __init__(self) -> None:
        self.text = ""
        self.learned: list[Span] = []
        self.plain: list[Span] = []

    def mark(self, text: str) -> None:
        """Add markers of the prompt."""
        self.text += text

    def quote(self, text: str) -> None:
        """Add somebody's text, in which nothing is a marker."""
        if text:
            self.plain.append((len(self.text), len(self.text) + len(text)))
        self.text += text

    def learn_from(self, start: int) -> None:
        """Everything from `start` to the present end is learned."""
        self.learned.append((start, len(self.text)))

    def rendered(self) -> Rendered:
        """The page as it is."""
        return Rendered(self.text, self.learned, self.plain)


@dataclass(frozen=True)
class PromptFormat:
    """Turn markers of one prompt family.

    Attributes:
        system: what the system says, or nothing.
        before_question, before_answer: markers; `before_answer` ends the prompt that generation continues.
        answer_lead: learned characters between the marker and the answer (Vicuna's space, which its tokenizer joins
            to the answer).
        answer_trail: learned characters between the answer and its end.
        end_of_turn: learned marker after an answer; generation stops at it.
        between_turns: what follows an end of turn when another turn comes.
        system_before, system_after: markers around what the system says.
        system_in_question: it stands inside the first turn, not before it.
        image: what stands for an image in front of a question, `<image>` being its tokens, `{number}` its number in
            the conversation.
        learned_markers: markers that the loss counts in every turn, the user's and the system's too.
        closing: text behind the last end of turn.
        box_numbers: how boxes are written (`box_formats.NUMBERS`); empty leaves it to the model's family.
    """

    name: str
    system: str
    before_question: str
    before_answer: str
    answer_lead: str
    end_of_turn: str
    between_turns: str
    answer_trail: str = ""
    system_before: str = ""
    system_after: str = ""
    system_in_question: bool = False
    image: str = f"{IMAGE}\n"
    learned_markers: tuple[str, ...] = ()
    closing: str = ""
    box_numbers: str = "unit"

    def render(self, turns: Sequence[Turn]) -> Rendered:
        """Text of a conversation and its spans."""
        page = Page()
        shown = 0
        for index, turn in enumerate(turns):
            page.mark(self._opening() if index == 0 else self.between_turns + self.before_question)
            for _ in range(turn.images):
                shown += 1
                page.mark(self.image.replace(NUMBER, str(shown)))
            page.quote(turn.question)
            page.mark(self.before_answer)
            if turn.answer is not None:
                self._answer(page, turn.answer, turn.tags)
        if turns and turns[-1].answer is not None:
            page.mark(self.closing)
            page.learned += self._marker_spans(page)
        return page.rendered()

    def _opening(self) -> str:
        said = f"{self.system_before}{self.system}{self.system_after}" if self.system else ""
        return self.before_question + said if self.system_in_question else said + self.before_question

    def _answer(self, page: Page, answer: str, tags: bool) -> None:
        start = len(page.text)
        page.mark(self.answer_lead)
        (page.mark if tags else page.quote)(answer)
        page.mark(self.answer_trail + self.end_of_turn)
        page.learn_from(start)

    def _marker_spans(self, page: Page) -> list[Span]:
        if not self.learned_markers:
            return []
        found = re.finditer("|".join(map(re.escape, self.learned_markers)), page.text)
        return [match.span() for match in found if not overlaps(match.span(), page.plain)]


def overlaps(span: Span, others: Sequence[Span]) -> bool:
    """Whether a span shares a character with one of the others."""
    start, end = span
    for begin, stop in others:  # noqa: SIM110  (asked for every token: a generator would take twice the time)
        if start < stop and end > begin:
            return True
    return False


CHATML = PromptFormat(
    name="chatml",
    system="",
    before_question="<|im_start|>user\n",
    before_answer="<|im_end|>\n<|im_start|>assistant\n",
    answer_lead="",
    end_of_turn="<|im_end|>",
    between_turns="\n",
    system_before="<|im_start|>system\n",
    system_after="<|im_end|>\n",
)
"""ChatML without a system message: thirty tokens that say nothing would be a third of a short prompt."""

VICUNA_V1 = PromptFormat(
    name="vicuna_v1",
    system="A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    before_question="USER: ",
    before_answer=" ASSISTANT:",
    answer_lead=" ",
    end_of_turn="</s>",
    between_turns="",
    system_after=" ",
)
"""Vicuna v1.1 as LLaVA-1.5 and CoIN use it (`conversation` "v1" in `coin_reference.md` section 1.5)."""

QWEN = replace(
    CHATML,
    name="qwen",
    system="You are a helpful assistant.",
    image=f"Picture {NUMBER}: <img>{IMAGE}</img>\n",
    box_numbers="thousand_tags",
)
"""Qwen-VL-Chat (arXiv 2308.12966, section 3): ChatML, the image numbered and between its own tags."""

QWEN_REFERENCE = replace(
    QWEN, name="qwen_reference", learned_markers=("<|im_start|>", "<|im_end|>\n"), closing="\n"
)  # fmt: skip
"""As `qwen`, with the loss of Qwen-VL's code, which CoIN trains with: every turn's markers and line break count too
(`coin_reference.md` section 2, differences between models)."""

LLAMA_2 = PromptFormat(
    name="llama_2",
    system="",
    before_question="[INST] ",
    before_answer=" [/INST]",
    answer_lead=" ",
    end_of_turn="</s>",
    between_turns="<s>",
    answer_trail=" ",
    system_before="<<SYS>>\n",
    system_after="\n<</SYS>>\n\n",
    system_in_question=True,
)
"""Llama-2-chat (arXiv 2307.09288); the first `<s>` is the tokenizer's own. The system message is optional."""

MINIGPT_V2 = replace(
    LLAMA_2,
    name="minigpt_v2",
    before_answer="  [/INST]",
    answer_trail="",
    image=f"<Img>{IMAGE}</Img> ",
    box_numbers="percent_tags",
)
"""MiniGPT-v2 (arXiv 2310.09478; `coin_reference.md` section 2): two blanks before `[/INST]`, none before `</s>`.

A sample without an image has no `<Img>` tags; the reference gives it an empty image instead.
"""

FORMATS = {
    prompt.name: prompt for prompt in (CHATML, VICUNA_V1, QWEN, QWEN_REFERENCE, LLAMA_2, MINIGPT_V2)
}  # fmt: skip


def prompt_format(name: str, system: str | None = None) -> PromptFormat:
    """The format of this name, saying `system` instead of its own system message; empty text leaves it out.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"backbone.prompt={name!r} is unknown; use one of {', '.join([*FORMATS, CHAT_TEMPLATE])}")
    chosen = FORMATS[name]
    return chosen if system is None else replace(chosen, name=f"{name} with system {system!r}", system=system)


def without_placeholders(text: str) -> str:
    """The text without each `<image>` at its beginning or end: a prompt has its own place for images.

    CoIN's training samples carry the placeholder at either end and most test samples nowhere (`coin_reference.md` 3.2).
    """
    while (bare := text.strip().removeprefix(IMAGE).removesuffix(IMAGE).strip()) != text:
        text = bare
    return text
