"""LLaVA-1.5 (arXiv 2310.03744): a square image, a row of tokens, a two-layer projector."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from coin_lightning.backbones.family import Family, Grid, output
from coin_lightning.backbones.images import framed
from coin_lightning.backbones.tower import selected


class Llava(Family):
    """Every image is brought into one square, and takes the same number of tokens."""

    model_types = ("llava",)
    image_token_key = "image_token_index"
    frames = ("pad", "squash", "crop")
    alike = True

    def pixels(self, image: Image.Image, frame: str) -> dict[str, Tensor]:
        """`pixel_values`: `[1, 3, S, S]`."""
        return {"pixel_values": framed(image, self.processor, frame)[None]}

    def tokens(self, grid: Grid) -> int:
        """As the config says."""
        return int(self.config.image_seq_length)

    @property
    def width(self) -> int:
        """Of all selected layers together."""
        layers = self.config.vision_feature_layer
        return super().width * (1 if isinstance(layers, int) else len(layers))

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """The states of the layers that the config names, without the class token where it says so."""
        return list(selected(core, torch.cat([each["pixel_values"] for each in pixels])))

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """All images at once."""
        return output(list(core.multi_modal_projector(torch.stack(list(features)))))
