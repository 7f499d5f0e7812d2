"""Qwen-VL and Qwen-VL-Chat (arXiv 2308.12966): 448 x 448 pixels, a resampler of 256 queries (`networks/qwen_vl.py`).

The resampler is the part between tower and language model, which Qwen-VL's own full fine-tuning trains and CoIN leaves.
"""

import coin_lightning.backbones.networks.qwen_vl  # noqa: F401  (tells transformers of the model)
from coin_lightning.backbones.families.square import Assembled
from coin_lightning.backbones.family import Grid


class QwenVL(Assembled):
    """Features are the tower's last states."""

    model_types = ("qwen_vl",)
    placeholder = "<imgpad>"
    box_numbers = "thousand_tags"
    conversion = "qwen_vl"

    def feature_count(self, grid: Grid) -> int:
        """A feature per patch; the resampler makes tokens of them."""
        return self.patches
