"""LLaVA checkpoints in the Hugging Face format: `llava-hf/llava-1.5-7b-hf` and everything shaped like it."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoTokenizer, BitsAndBytesConfig, LlavaForConditionalGeneration

from coin_lightning.backbones.attention import use_cpu_training_attention
from coin_lightning.backbones.base import Backbone, native_dtype
from coin_lightning.backbones.efficientnet_lite import EfficientNetLiteConfig  # registers the tower with transformers
from coin_lightning.backbones.prompts import IMAGE, prompt_format
from coin_lightning.errors import AssetError, ConfigError

__all__ = ["EfficientNetLiteConfig", "load_llava"]


def _quantization(kind: str | None, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """Settings for a 4- or 8-bit base. The picture parts and the head stay in full precision."""
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


def _read(loader: Any, source: str, **options: Any) -> Any:
    folder = Path(source).is_dir()  # of which nothing is then sought on the hub
    try:
        if folder and not (Path(source) / "config.json").is_file():
            raise OSError("the folder has no config.json")
        return loader.from_pretrained(source, trust_remote_code=False, local_files_only=folder, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AssetError(
            f"backbone.path={source!r} cannot be loaded by {loader.__name__}: {reason}\n"
            "Give a folder with a LLaVA checkpoint in Hugging Face format (config.json, safetensors, tokenizer, "
            "preprocessor), or a hub name that this machine can reach or has in its cache."
        ) from error


def load_llava(
    path: str | Path,
    prompt: str = "vicuna_v1",
    name: str | None = None,
    dtype: str = "auto",
    quantization: str | None = None,
    gradient_checkpointing: bool = False,
    attention: str = "auto",
    image_frame: str = "pad",
    max_length: int = 2048,
    projector: str | Path | None = None,
) -> Backbone:
    """Load a LLaVA model as a frozen backbone.

    Args:
        path: folder or hub name. Weights must be safetensors; remote code is never run.
        prompt: name of a `PromptFormat`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; see `native_dtype`.
        quantization: `nf4` or `int8` for a bitsandbytes base, null for none.
        gradient_checkpointing: recompute the language model's layers in the backward pass.
        attention: transformers' attention implementation; `auto` is sdpa, but on a CPU bfloat16 trains with our own.
        projector: safetensors file whose weights replace the checkpoint's projector, e.g. LLaVA's pretrain-only one.

    Raises:
        AssetError: the checkpoint cannot be read or lacks a part.
        ConfigError: an option has an unknown value.
    """
    turns = prompt_format(prompt)
    torch_dtype = native_dtype(dtype)
    source = str(path)
    tokenizer = _read(AutoTokenizer, source, use_fast=True)
    if tokenizer.convert_tokens_to_ids(IMAGE) in (None, tokenizer.unk_token_id):
        raise AssetError(
            f"{source}: the tokenizer has no {IMAGE} token; this is no LLaVA checkpoint in Hugging Face format"
        )
    model, report = _read(
        LlavaForConditionalGeneration,
        source,
        output_loading_info=True,
        dtype=torch_dtype,
        attn_implementation="sdpa" if attention == "auto" else attention,
        use_safetensors=True,
        quantization_config=_quantization(quantization, torch_dtype),
    )
    absent = [name for name in report["missing_keys"] if projector is None or "multi_modal_projector" not in name]
    if absent:  # transformers would draw them at random
        raise AssetError(f"{source}: checkpoint lacks {len(absent)} weights, e.g. {sorted(absent)[0]}; fetch it again")
    if attention == "auto":
        use_cpu_training_attention(model.model.language_model)
    if projector is not None:
        load_projector(model, Path(projector))
    if quantization is not None:
        # imported here: PEFT is slow to import and only this branch needs it
        from peft import prepare_model_for_kbit_training

        prepare_model_for_kbit_training(model, use_gradient_checkpointing=gradient_checkpointing)
    elif gradient_checkpointing:
        model.model.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    processor = _read(AutoImageProcessor, source, backend="pil")
    return Backbone(model, tokenizer, processor, turns, name or Path(source).name, image_frame, max_length)


def load_projector(model: Any, file: Path) -> None:
    """Replace the projector's weights (`linear_1`, `linear_2`) by those of a safetensors file.

    Raises:
        AssetError: the file is missing, or names and shapes do not fit.
    """
    if not file.is_file():
        raise AssetError(
            f"{file}: projector weights are missing; set backbone.projector to an existing safetensors file"
        )
    module = model.model.multi_modal_projector
    try:
        module.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError) as error:
        raise AssetError(f"{file}: projector weights do not fit the model: {error}") from error
