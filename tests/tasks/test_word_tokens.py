"""Bounds from words against tokenising the whole text, for tokenizers of both families."""

import random

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from coin_lightning.backbones.tiny import byte_tokenizer
from coin_lightning.tasks.word_tokens import WordTokens

CORPUS = [
    "What is the colour of the wooden table on the left?",
    "Is the man standing near a car?",
    "Yes, 12 of them",
] * 9


def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2, Qwen and SmolLM have it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|im_end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    core.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core)


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """As Llama 2 and Vicuna have it: no pre-tokenizer, spaces replaced."""
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    letters = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    core.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=letters))
    core.pre_tokenizer = None
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")


def count(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    return len(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("make", [byte_level, sentencepiece_like, byte_tokenizer])
def test_they_bound_what_the_tokenizer_gives_and_not_by_much(make):
    tokenizer, rng = make(), random.Random(0)
    words = WordTokens(tokenizer)
    assert words.usable
    pool = [
        *" ".join(CORPUS).split(),
        "na\u00efve",
        "\u4e2d\u6587",
        "12.5",
        "(x)",
        "it's",
        "?\nAnswer",
        "\nnew",
        "end\n",
        "'",
        "<box>",
    ]
    for _ in range(300):
        text = " ".join(rng.choices(pool, k=rng.randrange(1, 30))).strip()
        needed = count(tokenizer, text) - (make is sentencepiece_like)  # the space before the whole text
        assert needed <= words.bound([text]) <= len(text.encode())
    known = " ".join(CORPUS[:3])
    assert words.bound([known]) - count(tokenizer, known) <= len("What")
    assert words.bound([known, known]) == 2 * words.bound([known])
    assert words.bound([]) == 0


def test_unusual_spaces_and_markers_count_by_bytes():
    words = WordTokens(byte_level())
    for text in ("a  b", "a\tb", "a\u00a0b", "a\n\nb"):
        assert words.bound([text]) == len(text.encode())
    assert words.bound(["so <|im_end|>"]) == 2 + 1 + len("<|im_end|>")


def test_a_vocabulary_whose_tokens_reach_over_spaces_is_not_used():
    tokenizer = byte_level()
    assert WordTokens(tokenizer).usable
    tokenizer.add_tokens(["of\u0120the"])
    assert not WordTokens(tokenizer).usable
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    assert not WordTokens(PreTrainedTokenizerFast(tokenizer_object=words)).usable
