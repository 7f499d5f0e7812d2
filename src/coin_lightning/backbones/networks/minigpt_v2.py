"""MiniGPT-v2 (arXiv 2310.09478) without its own code: EVA-CLIP-g at 448 pixels, four neighbours joined, Llama-2.

The tower is the one that BLIP-2 has in transformers. Its last norm is a fresh one, with the epsilon that PyTorch has by
default: MiniGPT-v2 freezes it before it could learn, and so it is in no checkpoint; BLIP-2's would be a wrong one.
"""

from typing import ClassVar

from torch import Tensor, nn
from transformers import Blip2VisionConfig, Blip2VisionModel, LlamaConfig, LlamaModel

from coin_lightning.backbones.networks.assembly import (
    AssembledConfig,
    AssembledForConditionalGeneration,
    AssembledModel,
    register,
)

JOINED = 4
"""Neighbouring tokens that become one (section 2.1)."""
FRESH_NORM_EPS = 1e-5


class MiniGPTv2Config(AssembledConfig):
    """MiniGPT-v2."""

    model_type = "minigpt_v2"
    sub_configs: ClassVar = {"vision_config": Blip2VisionConfig, "text_config": LlamaConfig}
    image_token_index: int = 32000


class MiniGPTv2Model(AssembledModel):
    """Tower, one linear layer, Llama."""

    def features(self, pixels: Tensor) -> Tensor:
        """`[n, tokens / 4, 4 x width]`: the patches without the class token, four at a time."""
        patches = super().features(pixels)[:, 1:]
        return patches.reshape(len(patches), -1, JOINED * patches.shape[-1])


class MiniGPTv2ForConditionalGeneration(AssembledForConditionalGeneration):
    """MiniGPT-v2."""

    config_class = MiniGPTv2Config

    def __init__(self, config: MiniGPTv2Config) -> None:
        vision, text = config.vision_config, config.text_config
        tower = Blip2VisionModel._from_config(vision)
        tower.post_layernorm.eps = FRESH_NORM_EPS
        projector = nn.Linear(JOINED * vision.hidden_size, text.hidden_size)
        super().__init__(config, MiniGPTv2Model(config, tower, projector, LlamaModel._from_config(text)))


register(MiniGPTv2Config, MiniGPTv2ForConditionalGeneration)
