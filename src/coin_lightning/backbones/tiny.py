"""`tiny`: a random LLaVA of about a hundred thousand parameters with a byte tokenizer, for tests and debugging.

It has every part of the real thing (CLIP tower, projector, Llama, chat markers) and nothing to download. Its answers
are noise.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import PositiveInt
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from coin_lightning.backbones.base import Backbone, native_dtype
from coin_lightning.backbones.chat_templates import prompt_for
from coin_lightning.backbones.checkpoint_parts import check_parts
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.backbones.fast_path import Fast
from coin_lightning.backbones.images import check_frame
from coin_lightning.backbones.prompts import IMAGE
from coin_lightning.backbones.recomputation import Recomputation, recompute
from coin_lightning.backbones.starting_weights import check_start

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE, "</s>")
IMAGE_SIZE, PATCH = 28, 14


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, after the special tokens of both prompt families."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=SPECIALS[0]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token=SPECIALS[0],
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
    )


def config(vocabulary: int, width: int = 32, layers: int = 2) -> LlavaConfig:
    """Shape of the model: two layers in the tower, `layers` in the language model, 4 tokens per image."""
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=16384,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    tokens = (IMAGE_SIZE // PATCH) ** 2
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=SPECIALS.index(IMAGE), image_seq_length=tokens
    )


def load(
    name: str = "tiny",
    prompt: str = "chatml",
    dtype: str = "float32",
    image_frame: str | None = None,
    max_length: PositiveInt = 1024,
    gradient_checkpointing: Recomputation = "none",
    fast: Fast = "auto",
    init_seed: int = 0,
    starting_weights: str = "backbone",
    boxes: Mapping[str, str] | None = None,
) -> Backbone:
    """Build the model with weights drawn from `init_seed`, leaving the global random state as it was.

    Raises:
        ConfigError: an option has an unknown value, or asks for instruction-tuned weights: there are none.
    """
    check_start(starting_weights, name, ("backbone", "pretrained"))
    tokenizer = byte_tokenizer()
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    shape = config(len(tokenizer))
    frame = check_frame(image_frame or Llava.frames[0], Llava.frames)
    family = Llava(shape, processor, tokenizer)
    check_parts(name, family, tokenizer, frame, max_length)
    with torch.random.fork_rng():
        torch.manual_seed(init_seed)
        model: Any = LlavaForConditionalGeneration(shape)
        model = model.to(native_dtype(dtype)).eval()
    recompute(model.model.language_model, gradient_checkpointing)
    turns = prompt_for(prompt, tokenizer)
    backbone = Backbone(model, tokenizer, family, turns, name, frame, max_length, boxes)
    backbone.fast = fast == "auto"
    return backbone
