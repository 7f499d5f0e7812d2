"""LLaVA-1.5 (arXiv 2310.03744): a square image, a row of tokens, a two-layer projector."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coin_lightning.backbones.families.square import Square
from coin_lightning.backbones.family import STARTS
from coin_lightning.backbones.tower import check_features, selected


class Llava(Square):
    """Features of the layers that the config names."""

    model_types = ("llava",)
    image_token_key = "image_token_index"
    starts = STARTS

    @property
    def width(self) -> int:
        """Of all selected layers together."""
        layers = self.config.vision_feature_layer
        return super().width * (1 if isinstance(layers, int) else len(layers))

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """The states of the layers that the config names, without the class token where it says so."""
        return list(selected(core, torch.cat([each["pixel_values"] for each in pixels])))

    def check_tower(self, source: str) -> None:
        """The layers that the config names give as many tokens, as wide as it says."""
        check_features(source, self.config, self.width)
