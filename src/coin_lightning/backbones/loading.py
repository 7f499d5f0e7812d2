"""Checkpoints in Hugging Face format as frozen backbones, whatever their family."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

import coin_lightning.adapters  # noqa: F401  (registers the PEFT types: loading a saved adapter begins with this module)
from coin_lightning.backbones.attention import use_cpu_training_attention
from coin_lightning.backbones.base import Backbone, native_dtype
from coin_lightning.backbones.chat_templates import prompt_for
from coin_lightning.backbones.checkpoint_parts import CONVERT, check_parts, check_prompt, family_config
from coin_lightning.backbones.efficientnet_lite import EfficientNetLiteConfig  # registers the tower with transformers
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.backbones.family import Family
from coin_lightning.backbones.fast_path import Fast
from coin_lightning.backbones.hub_files import check_weight_files, read_processor, read_tokenizer, read_whole
from coin_lightning.backbones.images import check_frame
from coin_lightning.backbones.projectors import check_projector, load_projector
from coin_lightning.backbones.prompts import CHAT_TEMPLATE, prompt_format
from coin_lightning.backbones.quantization import check_quantization
from coin_lightning.backbones.quantization import quantization as bnb_settings
from coin_lightning.backbones.recomputation import Recomputation, recompute, spacing
from coin_lightning.backbones.starting_weights import Parts, check_start, pretrained_checkpoint
from coin_lightning.backbones.text_side import empty_model
from coin_lightning.errors import ConfigError

__all__ = ["EfficientNetLiteConfig", "load_backbone"]


def load_backbone(
    path: str | Path | None,
    prompt: str = "vicuna_v1",
    family: Callable[..., Family] = Llava,
    name: str | None = None,
    dtype: str = "auto",
    quantization: str | None = None,
    gradient_checkpointing: Recomputation = "none",
    attention: str = "auto",
    fast: Fast = "auto",
    image_frame: str | None = None,
    max_length: PositiveInt = 2048,
    projector: str | Path | None = None,
    starting_weights: str = "backbone",
    pretrained: Mapping[str, str | None] | None = None,
    image_processor: Mapping[str, Any] | None = None,
    system: str | None = None,
    boxes: Mapping[str, str] | None = None,
    weights: bool = True,
) -> Backbone:
    """Load a multimodal LLM as a frozen backbone.

    Args:
        path: folder or hub name. Weights must be safetensors; remote code is never run.
        family: of the checkpoint: a class, or a partial of it, as configs give it.
        prompt: name of a `PromptFormat`, or `chat_template` for the checkpoint's own.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; see `native_dtype`.
        quantization: `nf4` or `int8` for a bitsandbytes base, null for none.
        gradient_checkpointing: layers of the language model that the backward pass computes again: `none`, `all` or
            `every_<k>`, see `recomputation`.
        attention: transformers' attention implementation; `auto` is sdpa, but on a CPU bfloat16 trains with our own.
        fast: `off` computes each adapter layer by itself, answers by `generate` and trains with PyTorch's attention:
            slower, with other rounding.
        image_frame: see `Backbone`.
        projector: file whose weights replace a LLaVA checkpoint's projector (see `read_projector`).
        starting_weights: `pretrained` puts the model together from the parts named in `pretrained`, as CoIN did;
            else `path` is read (see `family.STARTS`). Only LLaVA has such parts.
        pretrained: `language_model`, `vision_tower`, `projector` and, if it is not the language model's, `tokenizer`.
        image_processor: settings in place of those in the checkpoint's preprocessor_config.json.
        system: replaces the prompt's system message; empty text leaves it out.
        boxes: see `Backbone`.
        weights: false reads tokenizer, prompt and image preprocessing only; such a model cannot be run.

    Raises:
        AssetError: the checkpoint cannot be read or lacks a part, or its parts do not fit each other (`check_parts`).
        ConfigError: an option has an unknown value.
    """
    of: Any = getattr(family, "func", family)  # the class
    torch_dtype, called = native_dtype(dtype), name or Path(str(path)).name
    spacing(gradient_checkpointing)  # a wrong word is told before anything is read
    check_start(starting_weights, called, of.starts)
    if path is None:
        raise ConfigError(f"backbone.path is not set. {CONVERT.format(of.conversion)}")
    of.check_start(str(path), starting_weights)
    if projector is not None and of is not Llava:
        raise ConfigError("backbone.projector: only a LLaVA's can be replaced by a file; leave it null")
    if prompt != CHAT_TEMPLATE:
        prompt_format(prompt)  # a wrong name is told before anything is read
    frame = check_frame(image_frame or of.frames[0], of.frames)
    check_quantization(quantization, usable=weights)
    quantized = bnb_settings(quantization, torch_dtype, of) if weights else None
    parts = Parts(pretrained or {}) if starting_weights == "pretrained" and of is Llava else None
    if parts is not None and not weights:
        config, tokenizer, processor = parts.checked(frame, max_length)
    else:
        source = str(path if parts is None else pretrained_checkpoint(parts))
        config = family_config(source, of)
        tokenizer = read_tokenizer(source)
        processor = read_processor(source, image_processor or {})
        check_weight_files(source, needed=weights)
        check_parts(source, of(config, processor, tokenizer), tokenizer, frame, max_length)
    if projector is not None:
        check_projector(config, Path(projector))
    said = of(config, processor, tokenizer)
    turns = prompt_for(prompt, tokenizer, system, of.placeholder, of.image_tags)
    check_prompt(said, turns, tokenizer)
    model = _model(source, config, torch_dtype, quantized, projector, attention) if weights else empty_model(config)
    backbone = Backbone(model, tokenizer, said, turns, called, frame, max_length, boxes)
    backbone.fast = fast == "auto"
    if weights and backbone.fast and attention == "auto":
        use_cpu_training_attention(backbone.language_model)
    recompute(backbone.language_model, gradient_checkpointing)
    return backbone


def _model(
    source: str,
    config: Any,
    dtype: torch.dtype,
    quantized: Any,
    projector: str | Path | None,
    attention: str,
) -> Any:
    model = read_whole(
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)],
        source,
        replaced=None if projector is None else "multi_modal_projector",
        config=config,
        dtype=dtype,
        attn_implementation="sdpa" if attention == "auto" else attention,
        use_safetensors=True,
        quantization_config=quantized,
    )
    if projector is not None:
        load_projector(model, Path(projector))
    return model
