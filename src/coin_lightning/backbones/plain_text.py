"""Tokenising texts in which somebody has written a marker: `</s>` in a book title, `<|im_end|>` in a question.

A tokenizer takes its special tokens wherever it finds their letters. Here only the prompt's own markers become tokens.
Samples without such letters never come here, so that their tokens are those of the plain tokenizer.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from coin_lightning.backbones.prompts import Rendered, Span, overlaps

FILLER = "\ufdd0"
"""A code point that Unicode keeps out of texts (a noncharacter)."""
FIRST = 0xF0000
"""First code point of the plane for private use."""
_TAG = re.compile(r"<\S+>|\[\S+\]")


class Encoded:
    """Token ids and the characters `[start, end)` each of them stands for."""

    def __init__(self, ids: Sequence[int], offsets: Sequence[Span]) -> None:
        self.ids, self.offsets = list(ids), list(offsets)


class PlainTextTokenizer:
    """Tokenises a rendered conversation.

    Markers are the tokenizer's special tokens, and other added tokens in angle or square brackets (`<think>`).

    Args:
        tokenizer: a fast one; it stays as it is.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        found = {token.content for token in added if token.special or _TAG.fullmatch(token.content)}
        self.markers = sorted((text for text in found if len(text) > 1), key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join(map(re.escape, self.markers)) or r"(?!)")
        self._begins = re.compile("|".join({re.escape(marker[0]) for marker in self.markers}) or r"(?!)")

    def encode(self, text: str, plain: Sequence[Span]) -> Encoded:
        """Tokens of a text whose spans `plain` hold no markers, with what the tokenizer puts in front (`<s>`)."""
        start = self.tokenizer.bos_token
        front = not (start and text.startswith(str(start)))  # a chat template may have written it already
        if any(overlaps(match.span(), plain) for match in self._pattern.finditer(text)):
            encoding = self._private.encode(self.disguised(text, plain), add_special_tokens=front)
            return Encoded(encoding.ids, encoding.offsets)
        result = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=front)
        return Encoded(result["input_ids"], result["offset_mapping"])

    def quotes_markers(self, page: Rendered) -> bool:
        """Whether somebody's text in a conversation holds letters of a marker."""
        text, _, plain = page
        if not self._begins.search("\n".join([text[start:end] for start, end in plain])):
            return False
        return any(overlaps(match.span(), plain) for match in self._pattern.finditer(text))

    def between_markers(self, text: str) -> list[str]:
        """The pieces of a text without foreign markers before, between and behind its markers."""
        return self._pattern.split(text)

    def disguised(self, text: str, plain: Sequence[Span]) -> str:
        """The text with the prompt's markers in private spelling, each as long as before, and all else unchanged."""
        parts, at = [], 0
        for begin, stop in [*plain, (len(text), len(text))]:
            parts.append(self._pattern.sub(lambda match: self._spelling[match.group()], text[at:begin]))
            parts.append(text[begin:stop].replace(FILLER, "\ufffd"))
            at = stop
        return "".join(parts)

    @cached_property
    def _spelling(self) -> dict[str, str]:
        """Marker -> as many characters that no text has."""
        return {
            marker: chr(FIRST + index) + FILLER * (len(marker) - 1) for index, marker in enumerate(self.markers)
        }  # fmt: skip

    @cached_property
    def _private(self) -> Tokenizer:
        """A copy of the tokenizer that knows the markers in their private spelling only, under the same ids.

        Spelled out they are not even words of its vocabulary, so that nothing can put them together.
        """
        settings: dict[str, Any] = json.loads(self.tokenizer.backend_tokenizer.to_str())
        model, spelling = settings["model"], self._spelling
        for token in settings["added_tokens"]:
            token["content"] = spelling.get(token["content"], token["content"])
        if isinstance(model["vocab"], dict):
            model["vocab"] = {spelling.get(word, word): index for word, index in model["vocab"].items()}
        else:  # Unigram: pairs of word and score
            model["vocab"] = [[spelling.get(word, word), score] for word, score in model["vocab"]]
        if "merges" in model:
            model["merges"] = [merge for merge in model["merges"] if not _concerns(merge, spelling)]
        if model.get("unk_token") is not None:
            model["unk_token"] = spelling.get(model["unk_token"], model["unk_token"])
        settings["truncation"] = settings["padding"] = None
        return Tokenizer.from_str(json.dumps(settings))


def _concerns(merge: str | list[str], markers: Mapping[str, str]) -> bool:
    """Whether a merge of a BPE model makes a marker or goes on from one."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left + right in markers or left in markers or right in markers
