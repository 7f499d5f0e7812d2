"""Gemma 3 (arXiv 2503.19786): a square image, whose tokens attend to each other in both directions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coin_lightning.backbones.family import Expansion, Family, Grid, output

BEGIN, END = "<start_of_image>", "<end_of_image>"


class Gemma3(Family):
    """All images are alike: its pan and scan, which adds parts of an image, is not used."""

    model_types = ("gemma3",)
    placeholder = BEGIN
    placeholder_is_image_token = False
    alike = True
    greedy = False  # windows, and images whose tokens see what lies behind them

    def tokens(self, grid: Grid) -> int:
        """As the config says."""
        return int(self.config.mm_tokens_per_image)

    def feature_count(self, grid: Grid) -> int:
        """A feature per patch; the projector pools them."""
        return self.patches

    def expansion(self, grid: Grid) -> Expansion:
        """Between markers and empty lines."""
        return Expansion(f"\n\n{BEGIN}{self.image_token}{END}\n\n", (self.tokens(grid),))

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """The last states."""
        return list(core.vision_tower(torch.cat([each["pixel_values"] for each in pixels])).last_hidden_state)

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """All images at once."""
        return output(core.multi_modal_projector(torch.stack(list(features))))

    def layout(self, core: Any, ids: Tensor, mask: Tensor | None, grids: Sequence[Grid]) -> dict[str, Tensor]:
        """`token_type_ids`: 1 for image tokens."""
        return {"token_type_ids": (ids == self.image_token_id).long()}
