"""Qwen-VL and Qwen-VL-Chat (arXiv 2308.12966): 448 x 448 pixels, a resampler of 256 queries (`networks/qwen_vl.py`).

The resampler is the part between tower and language model, which Qwen-VL's own full fine-tuning trains and CoIN leaves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import coin_lightning.backbones.networks.qwen_vl  # noqa: F401  (tells transformers of the model)
from coin_lightning.backbones.families.square import Square
from coin_lightning.backbones.family import Grid


class QwenVL(Square):
    """Features are the tower's last states."""

    model_types = ("qwen_vl",)
    image_token_key = "image_token_index"
    placeholder = "<imgpad>"
    frames = ("squash", "pad")
    box_numbers = "thousand_tags"
    conversion = "qwen_vl"

    def feature_count(self, grid: Grid) -> int:
        """A feature per patch; the resampler makes tokens of them."""
        return self.patches

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Before the resampler."""
        return list(core.features(torch.cat([each["pixel_values"] for each in pixels])))
