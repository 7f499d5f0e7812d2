"""How a conversation becomes text: the turn markers a backbone was trained with, and which characters the loss counts.

Only answers and their end-of-turn marker are learned; everything a user or the system says is context
(LLaVA, arXiv 2304.08485, section 4.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coin_lightning.errors import ConfigError

IMAGE = "<image>"
"""Placeholder for one picture in a text; it becomes as many image tokens as the tower gives."""


@dataclass(frozen=True)
class Turn:
    """One question with its answer; `answer=None` leaves the turn open for generation."""

    question: str
    answer: str | None = None


@dataclass(frozen=True)
class PromptFormat:
    """Turn markers of one prompt family.

    Attributes:
        system: what stands before the first turn.
        before_question, before_answer: markers; `before_answer` ends the prompt that generation continues.
        answer_lead: learned characters between the marker and the answer (Vicuna's space, which its tokenizer joins
            to the answer).
        end_of_turn: learned marker after an answer; generation stops at it.
        between_turns: what follows an end of turn when another turn comes.
    """

    name: str
    system: str
    before_question: str
    before_answer: str
    answer_lead: str
    end_of_turn: str
    between_turns: str

    def render(self, turns: Sequence[Turn]) -> tuple[str, list[tuple[int, int]]]:
        """Text of a conversation and the character spans `[start, end)` that are learned."""
        text, spans = self.system, []
        for index, turn in enumerate(turns):
            text += (self.between_turns if index else "") + self.before_question + turn.question + self.before_answer
            if turn.answer is not None:
                start = len(text)
                text += self.answer_lead + turn.answer + self.end_of_turn
                spans.append((start, len(text)))
        return text, spans


CHATML = PromptFormat(
    name="chatml",
    system="",
    before_question="<|im_start|>user\n",
    before_answer="<|im_end|>\n<|im_start|>assistant\n",
    answer_lead="",
    end_of_turn="<|im_end|>",
    between_turns="\n",
)
"""ChatML without a system message: thirty tokens that say nothing would be a third of a short prompt."""

VICUNA_V1 = PromptFormat(
    name="vicuna_v1",
    system="A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. ",
    before_question="USER: ",
    before_answer=" ASSISTANT:",
    answer_lead=" ",
    end_of_turn="</s>",
    between_turns="",
)
"""Vicuna v1.1 as LLaVA-1.5 and CoIN use it (`conversation` "v1" in `coin_reference.md` section 1.5)."""

FORMATS = {prompt.name: prompt for prompt in (CHATML, VICUNA_V1)}


def prompt_format(name: str) -> PromptFormat:
    """The format of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"backbone.prompt={name!r} is unknown; use one of {', '.join(FORMATS)}")
    return FORMATS[name]


def picture_first(text: str, has_picture: bool) -> str:
    """Put one `<image>` line before the text, wherever the row had it; drop it when the row has no picture.

    CoIN's training rows carry the placeholder at either end and its test rows not at all; LLaVA moves it to the front.
    """
    body = text.replace(IMAGE, "").strip()
    return f"{IMAGE}\n{body}" if has_picture else body
