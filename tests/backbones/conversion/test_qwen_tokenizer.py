"""Qwen's tokenizer without tiktoken: the same tokens as byte pairs merged by rank, written out slowly."""

import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
import regex

sys.path.insert(0, str(Path(__file__).parents[1]))

import published_qwen_vl as published

from coin_lightning.backbones.conversion.qwen_tokenizer import MARKERS, SPLIT, qwen_tokenizer, ranks


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write(tmp_path_factory.mktemp("qwen")) / "qwen.tiktoken"


def merged(word: bytes, known: dict[bytes, int]) -> list[int]:
    """tiktoken's rule: the whole word if it has a rank, else the pair of the lowest rank first."""
    parts = [bytes([byte]) for byte in word]
    while len(parts) > 1:
        pairs = [known.get(left + right, 10**9) for left, right in pairwise(parts)]
        if min(pairs) == 10**9:
            break
        at = pairs.index(min(pairs))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [known[part] for part in parts]


TEXTS = (
    "What is the cat?", "the  theatre's  cats", "It is\n\n the\tcat 12345", "Übergrößé 東京 🙂", "", " the",
    "THE'S the's", "cafe\u0301 is it",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_merging_by_rank(file: Path, text: str):
    known = ranks(file)
    composed = unicodedata.normalize("NFC", text)
    expected = [id_ for word in regex.findall(SPLIT, composed) for id_ in merged(word.encode(), known)]
    tokenizer = qwen_tokenizer(file)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == expected
    assert tokenizer.decode(expected) == composed


def test_markers_stand_behind_the_ranks_in_their_order(file: Path):
    """At full size: 151,643 ranks, `<|im_end|>` 151645, `<img>` 151857, `<imgpad>` 151859."""
    tokenizer = qwen_tokenizer(file)
    assert len(MARKERS) == 217
    assert [MARKERS.index(word) + 151643 for word in ("<|endoftext|>", "<|im_end|>", "<img>", "<imgpad>")] == [
        151643, 151645, 151857, 151859,
    ]  # fmt: skip
    assert tokenizer.convert_tokens_to_ids(list(MARKERS)) == [*range(published.RANKS, published.RANKS + 217)]
    assert len(tokenizer) == published.RANKS + 217
