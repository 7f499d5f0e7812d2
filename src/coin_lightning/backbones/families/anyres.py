"""LLaVA-NeXT (llava-vl.github.io, 2024) and LLaVA-OneVision (arXiv 2408.03326): a small whole image and its tiles."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches as next_tiles
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionModel
from transformers.models.llava_onevision.modeling_llava_onevision import image_size_to_num_patches as onevision_tiles

from coin_lightning.backbones.family import Family, Grid, Size, output
from coin_lightning.backbones.tower import selected


class LlavaNext(Family):
    """A grid is the image's height and width: the model itself cuts the padding of its tiles away."""

    model_types = ("llava_next",)
    image_token_key = "image_token_index"

    def grid(self, size: Size) -> Grid:
        """Height and width."""
        return size[1], size[0]

    def tiles(self, grid: Grid) -> int:
        """Tiles with the whole image in front."""
        return int(next_tiles(grid, self.config.image_grid_pinpoints, self.config.vision_config.image_size))

    def pixel_shape(self, grid: Grid) -> tuple[int, ...]:
        """Tile after tile, the whole image first."""
        return 1, self.feature_count(grid) // self.patches, *self.tile_shape

    def tokens(self, grid: Grid) -> int:
        """What the model's own packing leaves of the tiles, asked on the `meta` device."""
        empty = torch.empty(self.tiles(grid), self.patches, 1, device="meta")
        return int(self._packed(SimpleNamespace(config=self.config), [empty], [grid], empty[0, 0])[0].shape[0])

    def feature_count(self, grid: Grid) -> int:
        """Of all tiles."""
        return self.tiles(grid) * self.patches

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Tile after tile."""
        tiles = [each["pixel_values"].flatten(0, 1) for each in pixels]
        return [found.flatten(0, 1) for found in selected(core, torch.cat(tiles)).split([*map(len, tiles)])]

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """The tiles put together as they lie in the image, a line end behind each row."""
        kept = [
            part.unflatten(0, (-1, self.patches))[: self.tiles(grid)]
            for part, grid in zip(features, grids, strict=True)
        ]
        projected = core.multi_modal_projector(torch.cat(kept)).split([*map(len, kept)])
        return output(self._packed(core, projected, grids, core.image_newline))

    def _packed(self, core: Any, tiles: Sequence[Tensor], grids: Sequence[Grid], newline: Tensor) -> list[Tensor]:
        strategy = self.config.vision_feature_select_strategy
        return list(
            LlavaNextModel.pack_image_features(
                core, tiles, list(grids), vision_feature_select_strategy=strategy, image_newline=newline
            )[0]
        )


class LlavaOnevision(LlavaNext):
    """As LLaVA-NeXT; of several images in one sample only the small whole ones are shown.

    A grid has a third number: 1 where an image is alone.
    """

    model_types = ("llava_onevision",)

    def grids(self, sizes: Sequence[Size]) -> list[Grid]:
        """Of one image, or of several."""
        return [(height, width, int(len(sizes) == 1)) for width, height in sizes]

    def grid(self, size: Size) -> Grid:
        """Height, width, and that it is alone."""
        return self.grids([size])[0]

    def tiles(self, grid: Grid) -> int:
        """One where there are several images."""
        return self._all_tiles(grid) if grid[2] else 1

    def _all_tiles(self, grid: Grid) -> int:
        edge = self.config.vision_config.image_size
        return int(onevision_tiles(grid[:2], self.config.image_grid_pinpoints, edge))

    def feature_count(self, grid: Grid) -> int:
        """Of all tiles: they are kept whether shown or not."""
        return self._all_tiles(grid) * self.patches

    def _packed(self, core: Any, tiles: Sequence[Tensor], grids: Sequence[Grid], newline: Tensor) -> list[Tensor]:
        sizes = [grid[:2] for grid in grids]
        return list(
            LlavaOnevisionModel.pack_image_features(
                core, tiles, sizes, image_newline=newline, vision_aspect_ratio=self.config.vision_aspect_ratio
            )[0]
        )
