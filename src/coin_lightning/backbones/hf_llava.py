"""LLaVA checkpoints in the Hugging Face format: `llava-hf/llava-1.5-7b-hf` and everything shaped like it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

import coin_lightning.adapters  # noqa: F401  (registers the PEFT types: loading a saved adapter begins with this module)
from coin_lightning.backbones.attention import use_cpu_training_attention
from coin_lightning.backbones.base import Backbone, native_dtype
from coin_lightning.backbones.chat_templates import prompt_for
from coin_lightning.backbones.checkpoint_parts import check_parts, llava_config
from coin_lightning.backbones.efficientnet_lite import EfficientNetLiteConfig  # registers the tower with transformers
from coin_lightning.backbones.hub_files import check_weight_files, read_pretrained, read_whole
from coin_lightning.backbones.images import check_frame
from coin_lightning.backbones.projectors import check_projector, load_projector
from coin_lightning.backbones.prompts import CHAT_TEMPLATE, prompt_format
from coin_lightning.backbones.starting_weights import Parts, check_start, pretrained_checkpoint
from coin_lightning.backbones.text_side import empty_llava
from coin_lightning.errors import ConfigError

__all__ = ["EfficientNetLiteConfig", "load_llava"]


def _quantization(kind: str | None, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """Settings for a 4- or 8-bit base. The image parts and the head stay in full precision."""
    if kind is None:
        return None
    keep = ["vision_tower", "multi_modal_projector", "lm_head"]
    if kind == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=keep,
        )  # fmt: skip
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=keep)
    raise ConfigError(f"backbone.quantization={kind!r} is unknown; use null, nf4 or int8")


def load_llava(
    path: str | Path,
    prompt: str = "vicuna_v1",
    name: str | None = None,
    dtype: str = "auto",
    quantization: str | None = None,
    gradient_checkpointing: bool = False,
    attention: str = "auto",
    image_frame: str = "pad",
    max_length: PositiveInt = 2048,
    projector: str | Path | None = None,
    starting_weights: str = "backbone",
    pretrained: Mapping[str, str | None] | None = None,
    system: str | None = None,
    boxes: Mapping[str, str] | None = None,
    weights: bool = True,
) -> Backbone:
    """Load a LLaVA model as a frozen backbone.

    Args:
        path: folder or hub name. Weights must be safetensors; remote code is never run.
        prompt: name of a `PromptFormat`, or `chat_template` for the tokenizer's own.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; see `native_dtype`.
        quantization: `nf4` or `int8` for a bitsandbytes base, null for none.
        gradient_checkpointing: recompute the language model's layers in the backward pass.
        attention: transformers' attention implementation; `auto` is sdpa, but on a CPU bfloat16 trains with our own.
        projector: file whose weights replace the checkpoint's projector (see `read_projector`).
        starting_weights: `pretrained` puts the model together from the parts named in `pretrained`, as CoIN did;
            else `path` is read (see `starting_weights.STARTS`).
        pretrained: `language_model`, `vision_tower`, `projector` and, if it is not the language model's, `tokenizer`.
        system: replaces the prompt's system message; empty text leaves it out.
        boxes: see `Backbone`.
        weights: false reads tokenizer, prompt and image preprocessing only; such a model cannot be run.

    Raises:
        AssetError: the checkpoint cannot be read or lacks a part, or its parts do not fit each other (`check_parts`).
        ConfigError: an option has an unknown value.
    """
    torch_dtype = native_dtype(dtype)
    check_start(starting_weights, name or Path(path).name)
    if prompt != CHAT_TEMPLATE:
        prompt_format(prompt)  # a wrong name is told before anything is read
    quantized = _quantization(quantization, torch_dtype)
    parts = Parts(pretrained or {}) if starting_weights == "pretrained" else None
    if parts is not None and not weights:
        config, tokenizer, processor = parts.checked(check_frame(image_frame), max_length)
    else:
        source = str(path if parts is None else pretrained_checkpoint(parts))
        config = llava_config(source)
        tokenizer = read_pretrained(AutoTokenizer, source, use_fast=True)
        processor = read_pretrained(AutoImageProcessor, source, backend="pil")
        check_weight_files(source, needed=weights)
        check_parts(source, config, tokenizer, processor, check_frame(image_frame), max_length)
    if projector is not None:
        check_projector(config, Path(projector))
    if weights:
        model = _model(source, config, torch_dtype, quantized, attention, projector)
        _prepare_for_training(model, quantized is not None, gradient_checkpointing)
    else:
        model = empty_llava(config)
    turns = prompt_for(prompt, tokenizer, system)
    return Backbone(model, tokenizer, processor, turns, name or Path(path).name, image_frame, max_length, boxes)


def _model(
    source: str,
    config: LlavaConfig,
    dtype: torch.dtype,
    quantized: BitsAndBytesConfig | None,
    attention: str,
    projector: str | Path | None,
) -> Any:
    model = read_whole(
        LlavaForConditionalGeneration,
        source,
        replaced=None if projector is None else "multi_modal_projector",
        config=config,
        dtype=dtype,
        attn_implementation="sdpa" if attention == "auto" else attention,
        use_safetensors=True,
        quantization_config=quantized,
    )
    if attention == "auto":
        use_cpu_training_attention(model.model.language_model)
    if projector is not None:
        load_projector(model, Path(projector))
    return model


def _prepare_for_training(model: Any, quantized: bool, gradient_checkpointing: bool) -> None:
    if quantized:
        # imported here: PEFT is slow to import and only this branch needs it
        from peft import prepare_model_for_kbit_training

        prepare_model_for_kbit_training(model, use_gradient_checkpointing=gradient_checkpointing)
    elif gradient_checkpointing:
        model.model.language_model.gradient_checkpointing_enable({"use_reentrant": False})
