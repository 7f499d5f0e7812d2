"""How long the prompts of all rows are, without rendering each."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.row_format import Row, TestRow, TrainRow, facts_of, texts
from coin_lightning.tasks.row_sequence import as_rows
from coin_lightning.tasks.word_tokens import WordTokens

PROBES = (("a", "b"), ("Why?\nSay so.", "no  2"), ("(1) Où \u4e2d?", "\u00fc [x] {y} <z>"))
"""Texts that any prompt quotes as they are, if it quotes texts as they are."""
BOX_GROWTH = 40
"""Most characters by which an answer grows when its box is written in another notation (`backbones.box_formats`)."""


class PromptSizes:
    """Characters of prompts, and upper bounds of their tokens.

    A prompt is markers around texts, so its size is that of its texts plus something that depends only on the number of
    turns and on the picture. That is tried with probe rows; where a prompt changes texts, every row is rendered.

    Args:
        encoder: renders the prompts.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._markers: dict[tuple[type, int, bool, str], int] = {}
        self._additive: dict[type, bool] = {}
        self._words: WordTokens | None = None

    def characters(self, rows: Sequence[Row]) -> list[int]:
        """Characters of each row's prompt; a box that is rewritten for the backbone counts as it is on disk."""
        return self._measure(rows, "characters").tolist()

    def token_bounds(self, rows: Sequence[Row]) -> np.ndarray:
        """Upper bounds of the tokens of each row's prompt: `[rows]`. Texts count by bytes, markers as tokens."""
        bounds = self._measure(rows, "bytes")
        if self.encoder.converts_boxes:
            bounds = bounds + BOX_GROWTH * as_rows(rows).sizes().turns
        return bounds

    def closer_bound(self, row: TrainRow | TestRow) -> int | None:
        """As `token_bounds`, from the tokens of the row's words; None where that is not possible."""
        if self._words is None:
            self._words = WordTokens(self.encoder.backbone.tokenizer)
        if not self._words.usable or not self._is_additive(type(row)):
            return None
        turns = len(row.turns) if isinstance(row, TrainRow) else 1
        growth = BOX_GROWTH * turns if self.encoder.converts_boxes else 0
        return (
            self._marker_size(type(row), turns, row.image is not None, "bytes") + growth + self._words.bound(texts(row))
        )

    def _measure(self, rows: Sequence[Row], unit: str) -> np.ndarray:
        rows = as_rows(rows)
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        kind = type(rows[0])
        if not self._is_additive(kind):
            return np.array([self._rendered(row, unit) for row in rows], dtype=np.int64)
        sizes = rows.sizes()
        keys, groups = np.unique(2 * sizes.turns + sizes.pictured, return_inverse=True)
        markers = [self._marker_size(kind, key // 2, key % 2 == 1, unit) for key in keys.tolist()]
        return np.array(markers, dtype=np.int64)[groups] + getattr(sizes, unit)

    def _rendered(self, row: TrainRow | TestRow, unit: str) -> int:
        text = self.encoder.prompt(row)
        return len(text) if unit == "characters" else self.encoder.backbone.token_bound(text)

    def _probed(self, row: TrainRow | TestRow, unit: str) -> int:
        text = self.encoder.prompt(row)
        return len(text) if unit == "characters" else self.encoder.backbone.marker_bound(text)

    def _marker_size(self, kind: type, turns: int, pictured: bool, unit: str) -> int:
        key = (kind, turns, pictured, unit)
        if key not in self._markers:
            row = probe(kind, turns, pictured, PROBES[:1])
            self._markers[key] = self._probed(row, unit) - getattr(facts_of(row), unit)
        return self._markers[key]

    def _is_additive(self, kind: type) -> bool:
        if kind not in self._additive:
            cases = product((1, 2, 3) if kind is TrainRow else (1,), (False, True), ("characters", "bytes"))
            self._additive[kind] = all(self._adds_up(kind, *case) for case in cases)
        return self._additive[kind]

    def _adds_up(self, kind: type, turns: int, pictured: bool, unit: str) -> bool:
        row = probe(kind, turns, pictured, PROBES[1:])
        expected = self._marker_size(kind, turns, pictured, unit) + getattr(facts_of(row), unit)
        return self._probed(row, unit) == expected


def probe(kind: type, turns: int, pictured: bool, said: Sequence[tuple[str, str]]) -> Any:
    """A row of so many turns that say this in turn; it names a picture that is never opened."""
    image = "probe.jpg" if pictured else None
    if kind is TestRow:
        return TestRow("probe", said[-1][0], image, {}, "probe")
    return TrainRow("probe", tuple(Turn(*said[at % len(said)]) for at in range(turns)), image, "probe")
