"""Small tokenizers of the three kinds that language models have, readable by hand."""

from collections.abc import Sequence

from llava_folder import llama_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.chat_templates import prompt_for
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.backbones.prompts import Turn

CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<img>", "</img>", "<box>", "</box>")


def byte_level(
    specials: Sequence[str] = CHATML,
    words: Sequence[str] = ("user", "system", "assistant", "Ġcat"),
    regex: bool = True,
    template: str | None = None,
) -> PreTrainedTokenizerFast:
    """GPT-2's kind: bytes, and the words put together by merges. `Ġ` is a blank, `Ċ` a line break."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens, merges = [*specials, *alphabet], []
    for word in words:
        for end in range(2, len(word) + 1):
            tokens += [word[:end]] if word[:end] not in tokens else []
            merges.append((word[: end - 1], word[end - 1]))
    core = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    options = {"eos_token": specials[2], "pad_token": specials[0], "chat_template": template}
    return PreTrainedTokenizerFast(tokenizer_object=core, **options)


def llama(template: str | None = None) -> PreTrainedTokenizerFast:
    """Llama's kind: `▁` for a blank and in front of every piece of text, bytes for what it does not know."""
    options = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=llama_tokenizer(), chat_template=template, **options)


def unigram() -> PreTrainedTokenizerFast:
    """SentencePiece's other kind: `▁` in front of the first piece only; its special tokens are words of the model."""
    letters = "▁\nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<>/.:?|_[]"
    words = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("<image>", 0.0), *((letter, -9.0) for letter in letters)]
    words += [("▁cat", -2.0), ("▁No", -2.0), ("USER", -2.0), ("ASSISTANT", -2.0), ("▁USER", -2.0)]
    core = Tokenizer(models.Unigram(words, unk_id=0, byte_fallback=False))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("<s>", "</s>", "<image>")])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def backbone(tokenizer: PreTrainedTokenizerFast, prompt: str, system: str | None = None, **options) -> Backbone:
    """A backbone around a tokenizer; its model cannot be run, as its vocabulary is another. 4 tokens per image."""
    base = tiny.load()
    base.model.config.image_token_index = tokenizer.convert_tokens_to_ids("<image>")
    return Backbone(
        base.model,
        tokenizer,
        Llava(base.model.config, base.family.processor, tokenizer),
        prompt_for(prompt, tokenizer, system),
        "small",
        **options,
    )


def read(backbone: Backbone, turns: Sequence[Turn]) -> tuple[list[str], list[str]]:
    """All tokens of a conversation, and those that are learned, as text."""
    ids, labels = backbone.tokens(backbone.prompt.render(turns))
    assert all(label in (IGNORE, token) for token, label in zip(ids, labels, strict=True))
    names = backbone.tokenizer.convert_ids_to_tokens
    return names(ids), names([label for label in labels if label != IGNORE])


def marked(backbone: Backbone, turns: Sequence[Turn]) -> str:
    """The tokens in one line, the learned ones in square brackets."""
    ids, labels = backbone.tokens(backbone.prompt.render(turns))
    names = backbone.tokenizer.convert_ids_to_tokens(ids)
    return " ".join(f"[{name}]" if label != IGNORE else name for name, label in zip(names, labels, strict=True))
