"""Qwen-VL (arXiv 2308.12966) without its remote code: a vision transformer, a resampler of 256 queries, Qwen-7B.

The language model is Qwen2's with query, key and value in one layer, as Qwen-VL has them: LoRA of the three together
shares one matrix A. Up to 2,048 positions it computes what Qwen-VL does; beyond, Qwen-VL stretches its positions while
it answers, which this does not: `max_position_embeddings` refuses it.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, PreTrainedModel, Qwen2Config, Qwen2Model
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.clip.modeling_clip import CLIPEncoder
from transformers.models.phi3.modeling_phi3 import Phi3Attention

from coin_lightning.backbones.networks.assembly import (
    AssembledConfig,
    AssembledForConditionalGeneration,
    AssembledModel,
    register,
)

HEAD_WIDTH = 128
"""Values per head of the resampler's attention."""


class QwenVLVisionConfig(CLIPVisionConfig):
    """The tower: OpenCLIP's ViT-bigG at 448 pixels."""

    model_type = "qwen_vl_vision"
    hidden_size: int = 1664
    intermediate_size: int = 8192
    num_hidden_layers: int = 48
    num_attention_heads: int = 16
    image_size: int = 448
    patch_size: int = 14
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6


class QwenVLTextConfig(Qwen2Config):
    """Qwen-7B; `intermediate_size` is that of one of the two layers, half of what Qwen-VL's own config says."""

    model_type = "qwen_vl_text"
    intermediate_size: int = 11008
    max_position_embeddings: int = 2048


class QwenVLConfig(AssembledConfig):
    """Qwen-VL and Qwen-VL-Chat."""

    model_type = "qwen_vl"
    sub_configs: ClassVar = {"vision_config": QwenVLVisionConfig, "text_config": QwenVLTextConfig}
    image_token_index: int = 151859


class QwenVLTower(PreTrainedModel):
    """`forward(pixels [n, 3, S, S]) -> last_hidden_state [n, (S / patch)^2, width]`; no class token."""

    config_class = QwenVLVisionConfig
    main_input_name = "pixel_values"
    _supports_sdpa = _supports_flash_attn = _supports_attention_backend = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        width, patch = config.hidden_size, config.patch_size
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.position_embedding = nn.Parameter(torch.zeros((config.image_size // patch) ** 2, width))
        self.pre_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.encoder = CLIPEncoder(config)
        self.post_init()

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        """See the class."""
        patches = self.patch_embedding(pixel_values.to(self.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        return BaseModelOutput(self.encoder(self.pre_layernorm(patches + self.position_embedding)).last_hidden_state)


class QwenVLResampler(nn.Module):
    """Position-aware adapter (section 2.1): learned queries attend to the patches, `[n, patches, width] -> [n, q, h]`.

    Queries and keys get fixed positions, values none.
    """

    query_positions: Tensor
    key_positions: Tensor

    def __init__(self, queries: int, patches: int, width: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(queries, hidden))
        self.register_buffer("query_positions", torch.zeros(queries, hidden))
        self.register_buffer("key_positions", torch.zeros(patches, hidden))
        self.kv_proj = nn.Linear(width, hidden, bias=False)
        self.attn = nn.MultiheadAttention(hidden, max(hidden // HEAD_WIDTH, 1), batch_first=True)
        self.ln_q, self.ln_kv, self.ln_post = (nn.LayerNorm(hidden, eps=eps) for _ in range(3))
        self.proj = nn.Linear(hidden, hidden, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """See the class."""
        values = self.ln_kv(self.kv_proj(patches))
        queries = (self.ln_q(self.query) + self.query_positions).expand(len(values), -1, -1)
        pooled = self.attn(queries, values + self.key_positions, values, need_weights=False)[0]
        projected: Tensor = self.proj(self.ln_post(pooled))
        return projected


class FusedAttention(Phi3Attention):
    """Attention with query, key and value in one layer that has a bias."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.qkv_proj = nn.Linear(self.qkv_proj.in_features, self.qkv_proj.out_features, bias=True)


class QwenVLTextModel(Qwen2Model):
    """Qwen2's decoder with `FusedAttention`."""

    config_class = QwenVLTextConfig

    def __init__(self, config: QwenVLTextConfig) -> None:
        super().__init__(config)
        for index, layer in enumerate(self.layers):
            layer.self_attn = FusedAttention(config, index)
        self.post_init()


class QwenVLForConditionalGeneration(AssembledForConditionalGeneration):
    """Qwen-VL and Qwen-VL-Chat."""

    config_class = QwenVLConfig

    def __init__(self, config: QwenVLConfig) -> None:
        vision, text = config.vision_config, config.text_config
        tower = QwenVLTower._from_config(vision)
        patches = len(tower.position_embedding)
        projector = QwenVLResampler(
            config.image_seq_length, patches, vision.hidden_size, text.hidden_size, vision.layer_norm_eps
        )
        super().__init__(config, AssembledModel(config, tower, projector, QwenVLTextModel._from_config(text)))


register(QwenVLConfig, QwenVLForConditionalGeneration)
