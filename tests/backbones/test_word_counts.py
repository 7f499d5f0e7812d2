"""Counts from words against tokenising each conversation whole, for tokenizers of every family."""

import random

import pytest
from small_tokenizers import backbone as around
from small_tokenizers import byte_level as small_byte_level
from small_tokenizers import llama, unigram
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from coin_lightning.backbones.plain_text import PlainTextTokenizer
from coin_lightning.backbones.prompts import Turn
from coin_lightning.backbones.tiny import byte_tokenizer
from coin_lightning.backbones.word_counts import WordCounts

CORPUS = [
    "What is the colour of the wooden table on the left?",
    "Is the man standing near a car?",
    "Yes, 12 of them",
] * 9
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "</s>")
POOL = [
    *" ".join(CORPUS).split(), "na\u00efve", "\u4e2d\u6587", "12.5", "(x)", "it's", "?\nAnswer", "\nnew", "end\n", "'",
    "<box>", "\u0120", "\u2581", "[0.1,0.2,0.3,0.4]", "<", "<|im", "\u0301x",
]  # fmt: skip
STRANGE = ["", " ", "\t", "\u00a0", "\n\n", "</s>", "<image>", "<|im_end|>x", "a<think>b", "ï\u3000"]
"""Double blanks come of the empty word."""


def byte_level(**token_options: bool) -> PreTrainedTokenizerFast:
    """As GPT-2, Qwen and SmolLM have it, with merges over many words."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=list(SPECIALS), initial_alphabet=alphabet)
    core.train_from_iterator(CORPUS, trainer)
    core.add_special_tokens([AddedToken(text, special=True, normalized=False, **token_options) for text in SPECIALS])
    core.add_tokens([AddedToken("<think>", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """As Llama 2 and Vicuna have it: no pre-tokenizer, spaces replaced."""
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    letters = ["<unk>", *SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    core.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, special_tokens=letters))
    core.pre_tokenizer = None
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")


def talks(seed: int, strange: float) -> list[list[Turn]]:
    """Conversations of one to four turns, with and without image, answered or open."""
    rng = random.Random(seed)

    def text(most: int) -> str:
        words = rng.choices(POOL, k=rng.randrange(1, most))
        if rng.random() < strange:
            words.insert(rng.randrange(len(words) + 1), rng.choice(STRANGE))
        return " ".join(words).strip() or "x"

    made = []
    for _ in range(150):
        shown = [int(at == 0 and rng.random() < 0.6) for at in range(rng.randrange(1, 5))]
        turns = [Turn(text(20), text(5), images=images) for images in shown]
        made.append(turns if rng.random() < 0.8 else [Turn(text(20), None, images=int(rng.random() < 0.6))])
    return made


@pytest.mark.parametrize("prompt", ["chatml", "vicuna_v1", "llama_2"])
@pytest.mark.parametrize("strange", [0.0, 0.5])
@pytest.mark.parametrize(
    ("make", "by_words"),
    [
        (byte_level, True), (sentencepiece_like, True), (unigram, True), (llama, True), (small_byte_level, True),
        (byte_tokenizer, True), (lambda: byte_level(rstrip=True), False), (lambda: byte_level(lstrip=True), False),
    ],
    ids=["bytes", "pieces", "unigram", "llama", "small bytes", "tiny", "rstrip", "lstrip"],
)  # fmt: skip
def test_they_are_what_the_tokenizer_gives(make, by_words, prompt, strange):
    tokenizer = make()
    end = {"chatml": "<|im_end|>"}.get(prompt, "</s>")
    if end not in tokenizer.get_vocab():
        pytest.skip("the prompt's end is no token here")
    made = around(tokenizer, prompt)
    pages = [made.prompt.render(turns) for turns in talks(len(prompt), strange)]
    assert made.token_counts(pages) == [len(made.tokens(page)[0]) for page in pages]
    assert made._word_counts.usable == by_words
    assert made.token_counts([]) == []


def test_words_are_tokenised_once(monkeypatch):
    made = around(byte_level(), "chatml")
    pages = [made.prompt.render(turns) for turns in talks(0, 0.0)]
    made.token_counts(pages)
    counted: list[str] = []
    monkeypatch.setattr(WordCounts, "_count", lambda self, text, **more: counted.append(text))
    made.token_counts(pages)
    assert counted == []


def test_a_vocabulary_whose_tokens_reach_over_spaces_is_not_used():
    tokenizer = byte_level()
    assert WordCounts(PlainTextTokenizer(tokenizer)).usable
    tokenizer.add_tokens(["of\u0120the"])
    assert not WordCounts(PlainTextTokenizer(tokenizer)).usable
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    assert not WordCounts(PlainTextTokenizer(PreTrainedTokenizerFast(tokenizer_object=words))).usable


def test_a_tokenizer_that_looks_independent_and_is_not_is_found_out():
    """Here a normalizer joins two words; nothing in the vocabulary says so."""
    core = byte_level().backend_tokenizer
    core.normalizer = normalizers.Replace("of the", "ofthe")
    made = around(PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>"), "chatml")
    pages = [made.prompt.render(turns) for turns in [[Turn("colour of the table", "of the")], *talks(1, 0.0)]]
    assert made.token_counts(pages) == [len(made.tokens(page)[0]) for page in pages]
    assert not made._word_counts.usable
