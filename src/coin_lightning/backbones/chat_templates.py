"""Any tokenizer's own chat template as a prompt, with the learned characters found by looking where texts come out.

A template is a program and says nothing about its parts. It is run once per shape of conversation with stand-in words;
what surrounds them is the template's own. Every row is run, too, and must come out as those surroundings say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from coin_lightning.backbones.plain_text import PlainTextTokenizer
from coin_lightning.backbones.prompts import (
    CHAT_TEMPLATE,
    IMAGE,
    Page,
    Prompt,
    PromptFormat,
    Rendered,
    Turn,
    prompt_format,
)
from coin_lightning.errors import ConfigError

DATE = "26 Jul 2024"
"""What templates that tell the date are given, so that a run says the same on every day."""
FAILURES = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


@dataclass(frozen=True)
class Style:
    """How a template takes messages: content as text or as a list of parts, the image as a part or in the text as a
    placeholder."""

    question_parts: bool
    answer_parts: bool
    image_part: bool

    def messages(self, turns: Sequence[Turn], system: str | None, placeholder: str = IMAGE) -> list[dict[str, Any]]:
        """Messages of whole turns."""
        said = [{"role": "system", "content": _content(system, self.question_parts)}] if system else []
        return said + [message for turn in turns for message in self._pair(turn, placeholder)]

    def _pair(self, turn: Turn, placeholder: str) -> Iterator[dict[str, Any]]:
        parts = [{"type": "image"}] * turn.images if self.image_part else []
        text = turn.question if self.image_part else f"{placeholder}\n" * turn.images + turn.question
        yield {"role": "user", "content": _content(text, self.question_parts, parts)}
        yield {"role": "assistant", "content": _content(turn.answer or "", self.answer_parts)}


def _content(text: str, parts: bool, before: Sequence[dict[str, str]] = ()) -> Any:
    return [*before, {"type": "text", "text": text}] if parts else text


STYLES = (
    Style(True, True, True), Style(True, False, True), Style(True, True, False), Style(True, False, False),
    Style(False, False, False),
)  # fmt: skip
"""In the order in which they are tried: a template that takes the image as a part knows best where it belongs."""


@dataclass(frozen=True)
class Frame:
    """What a template writes around the texts of a conversation, question and answer in turn.

    Attributes:
        around: one piece more than there are texts.
        leads: per answer, how many characters before it are learned.
        asked: per answer, what is written between question and answer in place of the template's own; None keeps it.
    """

    around: tuple[str, ...]
    leads: tuple[int, ...]
    asked: tuple[str | None, ...] = ()

    def filled(self, texts: Sequence[str]) -> str:
        """The conversation with these texts."""
        return "".join(chain.from_iterable(zip(self.around, [*texts, ""], strict=True)))


class ChatTemplate:
    """The chat template of a tokenizer as a `Prompt`.

    Where the template ends an answer without a marker, as those of LLaVA's checkpoints do, the tokenizer's end of
    sequence is put there: a model could not learn to stop otherwise.

    Args:
        tokenizer: has a chat template.
        system: a system message; None leaves it to the template, which may have one of its own.
        placeholder: what the template writes for an image.

    Raises:
        ConfigError: there is no template, or it does not give back the texts it is given.
    """

    box_numbers = ""  # the family knows

    def __init__(self, tokenizer: PreTrainedTokenizerFast, system: str | None = None, placeholder: str = IMAGE) -> None:
        if not tokenizer.chat_template:
            raise ConfigError("backbone.prompt=chat_template: the tokenizer has none; name a prompt format instead")
        self.tokenizer, self.system, self.placeholder = tokenizer, system, placeholder
        self.name = CHAT_TEMPLATE if system is None else f"{CHAT_TEMPLATE} with system {system!r}"
        self._frames: dict[tuple[int, ...], Frame] = {}
        self.style = self._choose_style()
        self.end_of_turn = self._find_end()

    def __repr__(self) -> str:
        """Everything that decides what is written."""
        return f"ChatTemplate({self.tokenizer.chat_template!r}, {self.system!r}, {self.style}, {self.end_of_turn!r})"

    def render(self, turns: Sequence[Turn]) -> Rendered:
        """Text of a conversation and its spans; an open turn ends where the answer would begin.

        Raises:
            ConfigError: the template changes a text, so that nobody could say which characters are the answer.
        """
        frame = self._frame(tuple(turn.images for turn in turns))
        closed = [turn if turn.answer is not None else Turn(turn.question, _word(0), turn.images) for turn in turns]
        texts = self._checked(frame, closed)
        page = Page()
        for index, turn in enumerate(turns):
            before, own, instead = *frame.around[2 * index : 2 * index + 2], frame.asked[index]
            between, lead = own if instead is None else instead, frame.leads[index]
            page.mark(self._after_end(before) if index else before)
            page.quote(texts[2 * index])
            asked, told = between[: len(between) - lead], between[len(between) - lead :]
            if told.strip():  # an empty block of thoughts: given, as the templates' own switches do, and not learned
                asked, told = between, ""
            page.mark(asked)
            if turn.answer is None:
                return page.rendered()
            start = len(page.text)
            page.mark(told)
            (page.mark if turn.tags else page.quote)(texts[2 * index + 1])
            page.mark(self._up_to_end(frame.around[2 * index + 2]))
            page.learn_from(start)
        page.mark(self._after_end(frame.around[-1]))
        return page.rendered()

    def _up_to_end(self, after: str) -> str:
        before, found, _ = after.partition(self.end_of_turn)
        return (before if found else "") + self.end_of_turn

    def _after_end(self, after: str) -> str:
        _, found, rest = after.partition(self.end_of_turn)
        return rest if found else after

    def _checked(self, frame: Frame, turns: Sequence[Turn]) -> list[str]:
        """The texts as the template writes them, which may be without outer blanks."""
        texts = [text for turn in turns for text in (turn.question, str(turn.answer))]
        written = self._run(self.style, turns)
        for candidate in (texts, [text.strip() for text in texts]):
            if frame.filled(candidate) == written:
                return candidate
        raise ConfigError(
            f"backbone.prompt=chat_template: the template of {self.tokenizer.name_or_path!r} changes one of the texts "
            f"{texts}, so that the answer's place is unknown; choose a prompt format by name"
        )

    def _run(self, style: Style, turns: Sequence[Turn], open_end: bool = False, generation: bool = False) -> str:
        messages = style.messages(turns, self.system, self.placeholder)
        return str(
            self.tokenizer.apply_chat_template(
                messages[:-1] if open_end else messages, tokenize=False, add_generation_prompt=generation,
                date_string=DATE,
            )
        )  # fmt: skip

    # what the template does

    def _frame(self, images: tuple[int, ...]) -> Frame:
        if images not in self._frames:
            try:
                self._frames[images] = self._look(self.style, images)
            except FAILURES as error:
                raise ConfigError(f"backbone.prompt=chat_template: {error}; choose a prompt format by name") from error
        return self._frames[images]

    def _look(self, style: Style, images: tuple[int, ...]) -> Frame:
        """Run the template with stand-in words.

        Raises:
            ValueError: it does not write each of them once and in order, or the images elsewhere than once each.
        """
        turns = [Turn(_word(2 * at), _word(2 * at + 1), count) for at, count in enumerate(images)]
        text = self._run(style, turns)
        around, rest = [], text
        for word in (_word(at) for at in range(2 * len(turns))):
            before, found, rest = rest.partition(word)
            if not found or word in rest:
                raise ValueError("the template does not write every text just once and in its order")
            around.append(before)
        frame = Frame((*around, rest), ())
        if text.count(self.placeholder) != sum(images) or any(
            "'type'" in piece or '"type"' in piece for piece in frame.around
        ):
            raise ValueError(f"the template does not write one {self.placeholder} per image")
        leads, asked = zip(*(self._lead(style, turns[: at + 1], text) for at in range(len(turns))), strict=True)
        return Frame(frame.around, leads, asked)

    def _lead(self, style: Style, turns: Sequence[Turn], text: str) -> tuple[int, str | None]:
        """Of the last of these turns, how many characters between the prompt that generation continues and the answer;
        and what stands behind the question in that prompt, where it has other blanks than what the template writes
        before an answer, as LLaVA-OneVision's has: what is learned follows what is asked.
        """
        start = text.index(str(turns[-1].answer))
        prompt = self._run(style, turns, open_end=True, generation=True)
        if prompt == self._run(style, turns, open_end=True):  # it has no generation prompt: all but blanks is asked
            return start - len(text[:start].rstrip()), None
        if text[:start].startswith(prompt):
            return start - len(prompt), None
        if text[:start].split() == prompt.split():
            return 0, prompt.rpartition(turns[-1].question)[2]
        raise ValueError("what the template writes for generation is not what stands before an answer")

    def _choose_style(self) -> Style:
        reasons: list[str] = []
        for style in STYLES:
            try:
                self._frames = {images: self._look(style, images) for images in ((0,), (1,))}
                return style
            except FAILURES as error:
                reasons.append(str(error))
        raise ConfigError(
            f"backbone.prompt=chat_template: the template of {self.tokenizer.name_or_path!r} cannot be used: "
            f"{', or '.join(dict.fromkeys(reasons))}; "
            "choose a prompt format by name"
        )

    def _find_end(self) -> str:
        """First marker behind an answer, else the tokenizer's end of sequence."""
        after = self._frames[(False,)].around[-1]
        markers = [marker for marker in PlainTextTokenizer(self.tokenizer).markers if marker in after]
        end = min(markers, key=after.index) if markers else self.tokenizer.eos_token  # of equal ones the longest
        if not end:
            raise ConfigError(
                "backbone.prompt=chat_template: neither template nor tokenizer has a token that ends an answer; "
                "choose a prompt format by name"
            )
        return str(end)


def _word(index: int) -> str:
    """A stand-in for a text: a word that no template has."""
    return f"StandIn{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[index % 26]}{index}Text"


def prompt_for(
    name: str,
    tokenizer: PreTrainedTokenizerFast,
    system: str | None = None,
    placeholder: str = IMAGE,
    tags: tuple[str, str] = ("", ""),
) -> Prompt:
    """The prompt of this name for a tokenizer, with a model's own placeholder for images.

    Args:
        name, system: see `load_backbone`.
        placeholder, tags: see `Family`. A format that has no tags of its own has these, and no line behind them.

    Raises:
        ConfigError: see `prompt_format` and `ChatTemplate`.
    """
    if name == CHAT_TEMPLATE:
        return ChatTemplate(tokenizer, system, placeholder)
    chosen: PromptFormat = prompt_format(name, system)
    if any(tags) and chosen.image == PromptFormat.image:
        return replace(chosen, image=placeholder.join(tags))
    return replace(chosen, image=chosen.image.replace(IMAGE, placeholder))
