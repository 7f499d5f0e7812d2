"""InternVL 3 and 3.5 (arXiv 2504.10479, 2508.18265) in Hugging Face's format: square tiles and a small whole image."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coin_lightning.backbones.family import Expansion, Family, Grid, Size, output


class InternVL(Family):
    """A grid is the number of tiles; four features of a tile become one token."""

    model_types = ("internvl",)
    box_numbers = "thousand_boxes"
    placeholder = "<IMG_CONTEXT>"

    def grid(self, size: Size) -> Grid:
        """As the processor cuts it."""
        return (int(self.processor.get_number_of_image_patches(size[1], size[0], {})),)

    def pixel_shape(self, grid: Grid) -> tuple[int, ...]:
        """Tile after tile."""
        return *grid, *self.tile_shape

    def tokens(self, grid: Grid) -> int:
        """So many for each tile."""
        return grid[0] * int(self.config.image_seq_length)

    def expansion(self, grid: Grid) -> Expansion:
        """Between tags."""
        return Expansion(f"<img>{self.image_token}</img>", (self.tokens(grid),))

    @property
    def width(self) -> int:
        """Of the joined features."""
        return super().width * round(1 / self.config.downsample_ratio) ** 2

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Joined by pixel shuffle."""
        layer, counts = self.config.vision_feature_layer, [len(each["pixel_values"]) for each in pixels]
        images = torch.cat([each["pixel_values"] for each in pixels])
        found = core.vision_tower(pixel_values=images, output_hidden_states=True, return_dict=True)
        states = found.last_hidden_state if layer == -1 else found.hidden_states[layer]
        states = states[:, 1:] if self.config.vision_feature_select_strategy == "default" else states
        edge = round(states.shape[1] ** 0.5)
        joined = core.pixel_shuffle(states.unflatten(1, (edge, edge)), scale_factor=self.config.downsample_ratio)
        return [part.flatten(0, 1) for part in joined.flatten(1, 2).split(counts)]

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """All tiles at once."""
        return output(core.multi_modal_projector(torch.cat(list(features)))[None])
