"""EfficientNet-Lite0 as a Hugging Face vision tower.

The network is EfficientNet-B0 (Tan & Le, ICML 2019, table 1) without squeeze-and-excitation, with ReLU6 and with
unscaled stem and head: the "Lite" changes of the TensorFlow release. Convolutions pad as TensorFlow's SAME does.

An image of S x S pixels gives (S / 32)^2 tokens. Each token joins the 1280 channels of the head with the 112 channels
of the four stride-16 cells below it (448 values): the head names things, the finer map still knows where their edges
and colours are. Both parts are normalised per token, without parameters, so that one learning rate suits both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

# kernel, stride, expansion, channels, repeats: table 1 of the paper
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS, FINE_CHANNELS = 32, 1280, 112
FINE_BLOCK = 10
"""Index of the last block at stride 16."""


class EfficientNetLiteConfig(PreTrainedConfig):
    """Shape of the tower; `hidden_size` is the width of one token."""

    model_type = "efficientnet_lite"
    image_size: int = 224
    hidden_size: int = HEAD_CHANNELS + 4 * FINE_CHANNELS


class SamePadConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        totals = [
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        ]
        if any(odd := [total % 2 for total in totals]):  # only then is a copy needed
            x = F.pad(x, (0, odd[1], 0, odd[0]))
        pads = [total // 2 for total in totals]
        return F.conv2d(x, self.weight, self.bias, self.stride, pads, self.dilation, self.groups)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        SamePadConv(inputs, outputs, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(outputs, eps=1e-3)
    )


class InvertedResidual(nn.Module):
    """Expand, filter per channel, project; a skip where the shape allows. `[n, c_in, h, w] -> [n, c_out, h/s, w/s]`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = _conv(wide, wide, kernel, stride, groups=wide)
        self.project = _conv(wide, outputs, 1)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else F.relu6(self.expand(x))
        hidden = self.project(F.relu6(self.depthwise(hidden)))
        return hidden + x if self.skip else hidden


class EfficientNetLiteModel(PreTrainedModel):
    """The tower. `forward(pixel_values [n, 3, S, S]) -> hidden_states[-1] of [n, (S/32)^2, hidden_size]`."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"
    _supports_sdpa = _supports_flash_attn = True  # it has no attention, so every implementation will do

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.stem = _conv(3, STEM_CHANNELS, 3, 2)
        blocks: list[nn.Module] = []
        inputs = STEM_CHANNELS
        for kernel, stride, expansion, outputs, repeats in STAGES:
            for index in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if index == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = _conv(inputs, HEAD_CHANNELS, 1)
        self.post_init()

    def feature_maps(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Stride-16 map `[n, 112, S/16, S/16]` and head map `[n, 1280, S/32, S/32]`."""
        # a third faster on CPUs; the numbers differ in their last digits
        hidden = F.relu6(self.stem(pixel_values.contiguous(memory_format=torch.channels_last)))
        fine = hidden
        for index, block in enumerate(self.blocks):
            hidden = block(hidden)
            if index == FINE_BLOCK:
                fine = hidden
        return fine, F.relu6(self.head(hidden))

    def forward(self, pixel_values: Tensor, return_dict: bool = True, **_: object) -> BaseModelOutput:
        """See the class; `hidden_states` has one entry, so every `vision_feature_layer` of -1 selects the tokens."""
        fine, head = self.feature_maps(pixel_values)
        parts = [part.flatten(2).transpose(1, 2) for part in (head, F.pixel_unshuffle(fine, 2))]
        tokens = torch.cat([F.layer_norm(part, part.shape[-1:]) for part in parts], dim=-1)
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))


def convert_state_dict(source: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the released classifier to this module's names; the classification layer is left out.

    Raises:
        KeyError: the source lacks a tensor that the tower needs.
    """
    parts = {"_expand_conv": "expand.0", "_bn0": "expand.1", "_depthwise_conv": "depthwise.0", "_bn1": "depthwise.1",
             "_project_conv": "project.0", "_bn2": "project.1"}  # fmt: skip
    outer = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}
    renamed = {}
    for name, tensor in source.items():
        path = name.split(".")
        if path[0] == "_blocks":
            renamed[".".join(["blocks", path[1], parts[path[2]], *path[3:]])] = tensor
        elif path[0] != "_fc":
            renamed[".".join([outer[path[0]], *path[1:]])] = tensor
    return renamed


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)
