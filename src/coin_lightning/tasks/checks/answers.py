"""The answers of a file: how they are distributed, and how many tokens they take."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.tasks.subsets import chunks

TOP = 10
"""Most frequent answers that are named."""
TOGETHER = 1000
"""Answers per call of the tokenizer."""
AREAS = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)
"""Bins for the share of the frame that a box covers."""


@dataclass(frozen=True)
class Balance:
    """Distribution of answers.

    Attributes:
        count, distinct: answers, and different ones.
        majority: share of the most frequent one: what always giving it would score.
        bits: entropy of the distribution.
        unseen: share of answers that training never shows; None for training itself.
        top: the most frequent ones with their counts; for boxes the number per range of area.
        boxes: whether the answers are boxes.
    """

    count: int
    distinct: int
    majority: float
    bits: float
    unseen: float | None
    top: list[tuple[str, int]]
    boxes: bool = False


@dataclass(frozen=True)
class Lengths:
    """Tokens per answer without the end of turn: the longest, the 95th percentile, how many exceed the limit, and
    `histogram[n]` answers of n tokens (the last bin holds all longer ones)."""

    longest: int
    p95: int
    limit: int
    over: int
    histogram: list[int]


def balance(answers: Counter[str], known: Counter[str] | None, areas: Sequence[float] | None = None) -> Balance:
    """Distribution of counted answers; `areas` (of boxes) replace the most frequent answers, which say little there."""
    count = answers.total()
    shares = [number / count for number in answers.values()] if count else []
    top = _ranges(areas) if areas is not None else answers.most_common(TOP)
    return Balance(
        count=count,
        distinct=len(answers),
        majority=max(shares, default=0.0),
        bits=abs(sum(share * math.log2(share) for share in shares)),
        unseen=None if known is None else sum(n for text, n in answers.items() if text not in known) / max(count, 1),
        top=top,
        boxes=areas is not None,
    )


def _ranges(areas: Sequence[float]) -> list[tuple[str, int]]:
    names = [f"{100 * low:g} to {100 * high:g} % of the frame" for low, high in pairwise(AREAS)]
    numbers = np.histogram(np.asarray(areas), bins=AREAS)[0].tolist()
    return list(zip(names, numbers, strict=True))


def answer_tokens(backbone: Backbone, answers: Sequence[str]) -> list[int]:
    """Tokens of each answer as it stands behind the prompt, without the end of turn."""
    found: list[int] = []
    for part in chunks(answers, TOGETHER):
        rendered = [backbone.prompt.render([Turn("", answer)]) for answer in part]
        encoded = backbone.tokenizer([each.text for each in rendered], return_offsets_mapping=True)
        for each, offsets in zip(rendered, encoded["offset_mapping"], strict=True):
            begin, stop = each.plain[-1] if each.plain else (0, 0)
            found.append(sum(start < stop and end > begin for start, end in offsets))
    return found


def lengths(tokens: dict[str, int], answers: Counter[str], limit: int) -> Lengths:
    """Statistics of `answers`, each weighted with its count; `tokens` has the length of every distinct one."""
    bins = np.zeros(max((tokens[text] for text in answers), default=0) + 1, np.int64)
    for text, number in answers.items():
        bins[tokens[text]] += number
    total, upto = int(bins.sum()), np.cumsum(bins)
    shown = 2 * limit
    return Lengths(
        longest=len(bins) - 1,
        p95=int(np.searchsorted(upto, math.ceil(0.95 * total))) if total else 0,
        limit=limit,
        over=int(bins[limit + 1 :].sum()),
        histogram=[*bins[:shown].tolist(), int(bins[shown:].sum())],
    )
