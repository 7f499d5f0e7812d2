"""Models of a published shape with random weights, and random batches for them. Random weights cost what trained ones
do; features of the images are taken as cached, as in a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from flops import Step
from peft import PeftConfig
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    PreTrainedConfig,
    Qwen3VLConfig,
)

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.backbones.families.qwen3_vl import Qwen3VL
from coin_lightning.backbones.family import Family, Grid
from coin_lightning.backbones.prompts import IMAGE, prompt_format
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant

CHARACTERS = (5, 200)
"""Ids of the byte tokenizer that are no markers."""


class NoImages:
    """Stands for the image processor: features are given."""

    image_mean = (0.5, 0.5, 0.5)


def llava_7b(image_id: int) -> LlavaConfig:
    """LLaVA-1.5-7B: Vicuna-7B (Llama 2) behind CLIP ViT-L/14 at 336 pixels (arXiv 2310.03744)."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
    )
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_id, image_seq_length=576)


def qwen3_vl(image_id: int, size: int) -> Qwen3VLConfig:
    """Qwen3-VL of 4 or 8 billion weights (arXiv 2511.21631, and the published config.json)."""
    wide = size == 8
    vision = {
        "depth": 27 if wide else 24, "hidden_size": 1152 if wide else 1024, "num_heads": 16, "patch_size": 16,
        "intermediate_size": 4304 if wide else 4096, "out_hidden_size": 4096 if wide else 2560,
        "deepstack_visual_indexes": [8, 16, 24] if wide else [5, 11, 17],
    }  # fmt: skip
    text = {
        "vocab_size": 151936, "hidden_size": 4096 if wide else 2560, "intermediate_size": 12288 if wide else 9728,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20],
                            "mrope_interleaved": True},
    }  # fmt: skip
    return Qwen3VLConfig(
        vision_config=vision, text_config=text, image_token_id=image_id, video_token_id=0, vision_start_token_id=1,
        vision_end_token_id=2, tie_word_embeddings=not wide,
    )  # fmt: skip


def qwen3_vl_toy(image_id: int) -> Qwen3VLConfig:
    """Some thousand weights."""
    vision = {
        "depth": 3, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
        "patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    text = {
        "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "head_dim": 8,
        "num_attention_heads": 4, "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 1, 1],
                            "mrope_interleaved": True},
    }  # fmt: skip
    return Qwen3VLConfig(
        vision_config=vision, text_config=text, image_token_id=image_id, video_token_id=0, vision_start_token_id=1,
        vision_end_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A model to be measured.

    Attributes:
        title: in reports.
        config: of the full size, from the id of the image token.
        toy: the same family in a size for tests.
        family: of the model.
        grid: of the images, at full size and as a toy.
    """

    title: str
    config: Callable[[int], PreTrainedConfig]
    toy: Callable[[int], PreTrainedConfig]
    family: type[Family]
    grid: tuple[Grid, Grid] = ((), ())


def _toy_llava(image_id: int) -> LlavaConfig:
    return tiny.config(len(tiny.byte_tokenizer()))


SHAPES = {
    "llava_7b": Shape("LLaVA-1.5-7B shape", llava_7b, _toy_llava, Llava),
    "qwen3_vl_4b": Shape(
        "Qwen3-VL-4B shape", lambda image_id: qwen3_vl(image_id, 4), qwen3_vl_toy, Qwen3VL, ((1, 48, 48), (1, 4, 4))
    ),
    "qwen3_vl_8b": Shape(
        "Qwen3-VL-8B shape", lambda image_id: qwen3_vl(image_id, 8), qwen3_vl_toy, Qwen3VL, ((1, 48, 48), (1, 4, 4))
    ),
}
"""Images of 768 x 768 pixels for Qwen3-VL: 576 tokens, as many as LLaVA's."""


@contextmanager
def _made(device: str, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def build(adapter: PeftConfig, device: str, toy: bool, seed: int, shape: str = "llava_7b") -> ContinualMLLM:
    """A module with weights drawn on the device itself: a published shape in bfloat16, or its toy in float32."""
    torch.manual_seed(seed)
    tokenizer, of = tiny.byte_tokenizer(), SHAPES[shape]
    config: Any = (of.toy if toy else of.config)(tokenizer.convert_tokens_to_ids(IMAGE))
    with _made(device, torch.float32 if toy else torch.bfloat16):
        model = AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa")
    name = f"toy of {of.title}" if toy else of.title
    backbone = Backbone(model, tokenizer, of.family(config, NoImages(), tokenizer), prompt_format("chatml"), name)
    backbone.benchmark_grid = of.grid[toy]
    return ContinualMLLM(backbone, adapter, Method(), torch.optim.AdamW, constant).to(device).train()


def image_tokens(module: ContinualMLLM) -> int:
    """Of an image of the benchmark."""
    return module.backbone.family.tokens(module.backbone.benchmark_grid)


def train_batch(module: ContinualMLLM, step: Step) -> dict[str, Any]:
    """`input_ids` and `labels` `[samples, length]`, cached `features`: image first, then text, learned tokens last."""
    backbone, device = module.backbone, module.device
    ids = torch.randint(*CHARACTERS, (step.samples, step.length), device=device)
    ids[:, : step.image_tokens] = backbone.image_token_id
    labels = torch.full_like(ids, IGNORE)
    labels[:, -step.learned :] = ids[:, -step.learned :]
    shown = features(module, step.samples).flatten(0, 1)
    grid = backbone.benchmark_grid
    layout = layout_of(module, ids)
    return {"input_ids": ids, "labels": labels, "features": shown, "grids": [[grid]] * step.samples, "layout": layout}


def layout_of(module: ContinualMLLM, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the model needs beside the ids of questions with one image each."""
    grids = [module.backbone.benchmark_grid] * len(ids)
    found = module.backbone.layout(ids.cpu(), None, grids)
    return {name: values.to(ids.device) for name, values in found.items()}


def features(module: ContinualMLLM, images: int) -> torch.Tensor:
    """Random features `[images, tokens, width]` in the store's type."""
    family, grid = module.backbone.family, module.backbone.benchmark_grid
    return torch.randn(images, family.feature_count(grid), family.width, device=module.device).bfloat16()


def pixels(module: ContinualMLLM, images: int) -> dict[str, torch.Tensor]:
    """Random pixels as the library takes them: `[images, 3, S, S]`, or patches with their grids."""
    family, grid = module.backbone.family, module.backbone.benchmark_grid
    if family.alike:
        size = module.backbone.model.config.vision_config.image_size
        return {"pixel_values": torch.randn(images, 3, size, size, device=module.device)}
    patches, width = family.pixel_shape(grid)
    return {
        "pixel_values": torch.randn(images * patches, width, device=module.device),
        "image_grid_thw": torch.tensor([grid] * images, device=module.device),
    }


def without_features(batch: dict[str, torch.Tensor], module: ContinualMLLM) -> dict[str, Any]:
    """The same batch as `transformers` takes it: with pixels and an attention mask."""
    ids = batch["input_ids"]
    types = {} if module.backbone.family.alike else {"mm_token_type_ids": (ids == module.backbone.image_token_id).int()}
    return {
        "input_ids": ids,
        "labels": batch["labels"],
        "attention_mask": torch.ones_like(ids),
        **pixels(module, len(ids)),
        **types,
    }
