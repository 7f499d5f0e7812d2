"""Models of a published shape with random weights, and random batches for them. Random weights cost what trained ones
do; features of the images are taken as cached, as in a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from flops import Step
from peft import PeftConfig
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.families.llava import Llava
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


@contextmanager
def _made(device: str, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def build(adapter: PeftConfig, device: str, toy: bool, seed: int) -> ContinualMLLM:
    """A module with weights drawn on the device itself: LLaVA-1.5-7B's shape in bfloat16, or a toy in float32."""
    torch.manual_seed(seed)
    tokenizer = tiny.byte_tokenizer()
    config = tiny.config(len(tokenizer)) if toy else llava_7b(tokenizer.convert_tokens_to_ids(IMAGE))
    with _made(device, torch.float32 if toy else torch.bfloat16):
        model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    name = "toy" if toy else "LLaVA-1.5-7B shape"
    backbone = Backbone(model, tokenizer, Llava(config, NoImages(), tokenizer), prompt_format("chatml"), name)
    return ContinualMLLM(backbone, adapter, Method(), torch.optim.AdamW, constant).to(device).train()


def train_batch(module: ContinualMLLM, step: Step) -> dict[str, Any]:
    """`input_ids` and `labels` `[samples, length]`, cached `features`: image first, then text, learned tokens last."""
    backbone, device = module.backbone, module.device
    ids = torch.randint(*CHARACTERS, (step.samples, step.length), device=device)
    ids[:, : step.image_tokens] = backbone.image_token_id
    labels = torch.full_like(ids, IGNORE)
    labels[:, -step.learned :] = ids[:, -step.learned :]
    shown = features(module, step.samples).flatten(0, 1)
    return {"input_ids": ids, "labels": labels, "features": shown, "grids": [[()]] * step.samples, "layout": {}}


def features(module: ContinualMLLM, images: int) -> torch.Tensor:
    """Random features `[images, tokens, width]` in the store's type."""
    family = module.backbone.family
    return torch.randn(images, family.feature_count(()), family.width, device=module.device).bfloat16()


def pixels(module: ContinualMLLM, images: int) -> torch.Tensor:
    """Random pixels `[images, 3, S, S]`."""
    size = module.backbone.model.config.vision_config.image_size
    return torch.randn(images, 3, size, size, device=module.device)


def without_features(batch: dict[str, torch.Tensor], module: ContinualMLLM) -> dict[str, Any]:
    """The same batch as `transformers` takes it: with pixels and an attention mask."""
    ids = batch["input_ids"]
    return {
        "input_ids": ids,
        "labels": batch["labels"],
        "attention_mask": torch.ones_like(ids),
        "pixel_values": pixels(module, len(ids)),
    }
