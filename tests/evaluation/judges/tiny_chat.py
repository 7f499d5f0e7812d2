"""A tiny causal language model with a chat template, in Hugging Face's format, that answers with one digit.

Its weights are random but for two directions of the hidden state, which no layer touches: the first is there in every
token, and every token but digits and the end of text shuns it; the second tells digits from all else, so that the text
ends behind a digit. Which digit comes depends on the whole prompt.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from coin_lightning.backbones.tiny import byte_tokenizer

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE


def write(folder: Path, seed: int = 0, template: str | None = TEMPLATE) -> Path:
    """Write model and tokenizer into `folder`, and return it."""
    tokenizer: Any = byte_tokenizer()
    tokenizer.chat_template = template
    size, end = len(tokenizer), tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=4096, initializer_range=0.6, bos_token_id=1, eos_token_id=end, pad_token_id=end,
        tie_word_embeddings=False,
    )  # fmt: skip
    digits = tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        read, written = torch.randn(size, 32), torch.randn(size, 32)
    read[:, 0], read[:, 1], read[digits, 1] = 4, -4, 4
    written[digits, 0], written[digits, 1] = 20, -3
    others = [token for token in range(size) if token not in digits]
    written[others], written[others, 0] = 0, -20
    written[end, :2] = 200
    for layer in model.model.layers:  # keep both directions as the tokens have them
        layer.self_attn.o_proj.weight.data[:2] = 0
        layer.mlp.down_proj.weight.data[:2] = 0
    model.model.embed_tokens.weight.data.copy_(read)
    model.lm_head.weight.data.copy_(written)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
