"""Upper bounds of the tokens of texts from the tokens of their words, each of which is tokenised once.

Tokenising the long conversations of a file of CoIN's size takes longer than reading the file. Their words repeat.
"""

import re
from collections.abc import Iterable
from typing import Any

from transformers import PreTrainedTokenizerFast

SPACES = ("\u0120", "\u2581")
"""How vocabularies write a space: byte-level BPE, SentencePiece."""
_ACROSS = re.compile(r"[^\s\u0109\u010a\u010d\u0120\u2581][\u0120\u2581]")
"""A space behind something that is no space, tab or line break, as vocabularies write them."""
_UNUSUAL = re.compile(r"\s\s|[^\S \n]")
_LEAD = "a"


class WordTokens:
    """Bounds for one tokenizer.

    In nearly all vocabularies a space only stands in front of a token, so that no token reaches over the beginning of a
    word and words are tokenised independently of each other. Where that is not so, `usable` is false.

    Args:
        tokenizer: a fast one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        vocabulary = tokenizer.get_vocab()
        self.usable = any(space in vocabulary for space in SPACES) and not any(map(_ACROSS.search, vocabulary))
        self._counts = _Counts(tokenizer)

    def bound(self, texts: Iterable[str]) -> int:
        """Most tokens that texts without outer blanks take, wherever they stand.

        First words count by bytes, since what stands in front of them is not known; so do texts with unusual spaces.
        """
        total, counts = 0, self._counts
        for text in texts:
            if _UNUSUAL.search(text):
                total += len(text.encode())
                continue
            first, *rest = text.split(" ")
            total += len(first.encode()) + sum([counts[word] for word in rest])
        return total


class _Counts(dict[str, int]):
    """Word -> tokens of the word with the space before it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self._tokenizer: Any = tokenizer.backend_tokenizer
        self._added = [*tokenizer.get_added_vocab(), *SPACES]
        self._lead = len(self._tokenizer.encode(_LEAD, add_special_tokens=False).ids)

    def __missing__(self, word: str) -> int:
        if any(text in word for text in self._added):  # in a row this is ordinary text, to the tokenizer it is not
            self[word] = len(word.encode()) + 1
        else:
            ids = self._tokenizer.encode(f"{_LEAD} {word}", add_special_tokens=False).ids
            self[word] = len(ids) - self._lead
        return self[word]
