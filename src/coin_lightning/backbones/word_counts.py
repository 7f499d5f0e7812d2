"""How many tokens rendered conversations take, exactly, from the tokens of their words, each tokenised once.

Tokenising the conversations of a data set of CoIN's size takes longer than reading them. Their words repeat, and in
nearly all vocabularies a space only stands in front of a token, so that no token reaches over the beginning of a word
and words are tokenised independently of each other; between special tokens everything is. Where a tokenizer is not of
this kind, or a text has anything unusual in it, the whole is tokenised.
"""

import re
from collections.abc import Sequence

from coin_lightning.backbones.plain_text import PlainTextTokenizer
from coin_lightning.backbones.prompts import Rendered

SPACES = ("\u0120", "\u2581")
"""How vocabularies write a space: byte-level BPE, SentencePiece."""
_ACROSS = re.compile(r"[^\s\u0109\u010a\u010d\u0120\u2581][\u0120\u2581]")
"""A space behind something that is no space, tab or line break, as vocabularies write them."""
_UNUSUAL = re.compile(r"^ | $|\s | \s")
"""A space that does not just stand between two words."""
_LEAD = "a"
WHOLE = 1 << 40
"""Count of a word that cannot be counted alone, more than any text has."""
PROBES = 64
"""Conversations of the first call that are counted in both ways."""
KEPT = 1 << 20
"""Words that are remembered."""


class WordCounts:
    """Counts for one tokenizer.

    Attributes:
        usable: whether words can be counted; false makes every conversation be tokenised whole.
    """

    def __init__(self, plain_text: PlainTextTokenizer) -> None:
        self.plain_text = plain_text
        tokenizer = plain_text.tokenizer
        self._core = tokenizer.backend_tokenizer
        self._added = [token.content for token in self._core.get_added_tokens_decoder().values()]
        self.usable = self._words_are_independent(tokenizer.get_vocab())
        self._front = self._count("", add_special_tokens=True)
        self._start = tokenizer.bos_token
        marker = next(iter(plain_text.markers), "")
        self._first, self._later = _Words(self, "", 0), _Words(self, marker, self._count(marker))
        lead = marker + _LEAD
        self._behind = _Words(self, f"{lead} ", self._count(lead))
        self._probed = False

    def count_all(self, pages: Sequence[Rendered]) -> list[int]:
        """Tokens of each conversation, `<image>` as one."""
        if not self._probed and pages:
            self._probed = True
            for page in pages[:: max(1, len(pages) // PROBES)]:
                self.usable = self.usable and self._by_words(page) == self._whole(page)
        return [self._by_words(page) for page in pages] if self.usable else [self._whole(page) for page in pages]

    def _whole(self, page: Rendered) -> int:
        return len(self.plain_text.encode(page.text, page.plain).ids)

    def _by_words(self, page: Rendered) -> int:
        if self.plain_text.quotes_markers(page):
            return self._whole(page)
        first, *later = self.plain_text.between_markers(page.text)
        front = 0 if self._start and page.text.startswith(str(self._start)) else self._front
        return (
            front + len(later) + self._piece(first, self._first) + sum(self._piece(each, self._later) for each in later)
        )

    def _piece(self, piece: str, heads: "_Words") -> int:
        """Tokens of the text before the first marker, or behind one."""
        if not piece:
            return 0
        if _UNUSUAL.search(piece):
            return heads.whole(piece)
        head, *words = piece.split(" ")
        total = heads[head] + sum([self._behind[word] for word in words])
        return heads.whole(piece) if total >= WHOLE else total

    def _count(self, text: str, add_special_tokens: bool = False) -> int:
        return len(self._core.encode(text, add_special_tokens=add_special_tokens))

    def _words_are_independent(self, vocabulary: dict[str, int]) -> bool:
        if not any(space in vocabulary for space in SPACES) or any(map(_ACROSS.search, vocabulary)):
            return False
        tokens = self._core.get_added_tokens_decoder().values()
        greedy = any(token.lstrip or token.rstrip or token.single_word for token in tokens)
        normalised = self._core.normalizer is not None and any(token.normalized for token in tokens)
        return not greedy and not normalised and not any(" " in content for content in self._added)


class _Words(dict[str, int]):
    """Text -> its tokens behind a given text, which alone takes so many."""

    def __init__(self, counts: WordCounts, before: str, tokens: int) -> None:
        super().__init__()
        self._counts, self._before, self._tokens = counts, before, tokens
        self._pieces: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        if len(self) > KEPT:
            self.clear()
        alone = not any(text in word for text in (*self._counts._added, *SPACES))
        self[word] = self._counted(word) if alone else WHOLE
        return self[word]

    def whole(self, piece: str) -> int:
        """Tokens of a text that is not taken apart."""
        if piece not in self._pieces:
            if len(self._pieces) > KEPT >> 4:
                self._pieces.clear()
            self._pieces[piece] = self._counted(piece)
        return self._pieces[piece]

    def _counted(self, text: str) -> int:
        return self._counts._count(self._before + text) - self._tokens
