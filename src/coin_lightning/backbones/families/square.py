"""Families that see every image in one square, and give it the same number of tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from coin_lightning.backbones.family import Family, Grid, output
from coin_lightning.backbones.images import framed


class Square(Family):
    """Base of these families."""

    frames: tuple[str, ...] = ("pad", "squash", "crop")
    alike = True

    def pixels(self, image: Image.Image, frame: str) -> dict[str, Tensor]:
        """`pixel_values`: `[1, 3, S, S]`."""
        return {"pixel_values": framed(image, self.processor, frame)[None]}

    def tokens(self, grid: Grid) -> int:
        """As the config says."""
        return int(self.config.image_seq_length)

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """All images at once."""
        return output(list(core.multi_modal_projector(torch.stack(list(features)))))


class Assembled(Square):
    """Base of those whose models are this project's own (`networks`), which say their features themselves."""

    image_token_key = "image_token_index"
    frames = ("squash", "pad")

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Before the projector."""
        return list(core.features(torch.cat([each["pixel_values"] for each in pixels])))
