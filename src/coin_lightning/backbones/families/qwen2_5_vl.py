"""Qwen2.5-VL (arXiv 2502.13923): images in their own shape, positions in three dimensions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.vision_utils import get_vision_window_index

from coin_lightning.backbones.family import Family, Grid, Size, output


class Qwen25VL(Family):
    """A grid is time, height and width in patches; four neighbouring patches become one token."""

    model_types: tuple[str, ...] = ("qwen2_5_vl",)
    flat_text_config = True
    tower = "visual"
    projectors: tuple[str, ...] = ("visual.merger",)
    placeholder = "<|image_pad|>"
    image_tags = ("<|vision_start|>", "<|vision_end|>")
    box_numbers = "pixels"

    @property
    def _unit(self) -> int:
        return int(self.config.vision_config.spatial_merge_size**2)

    def grid(self, size: Size) -> Grid:
        """As the processor resizes it."""
        of = self.processor
        height, width = smart_resize(
            size[1], size[0], of.patch_size * of.merge_size, of.size["shortest_edge"], of.size["longest_edge"]
        )
        return 1, height // of.patch_size, width // of.patch_size

    def pixel_shape(self, grid: Grid) -> tuple[int, ...]:
        """Patch after patch, each a row of numbers."""
        vision = self.config.vision_config
        return self.feature_count(grid), 3 * vision.temporal_patch_size * vision.patch_size**2

    def shown(self, size: Size) -> Size:
        """All patches together."""
        _, rows, columns = self.grid(size)
        return columns * self.processor.patch_size, rows * self.processor.patch_size

    def tokens(self, grid: Grid) -> int:
        """A token per four patches."""
        return self.feature_count(grid) // self._unit

    def feature_count(self, grid: Grid) -> int:
        """A feature per patch."""
        return grid[0] * grid[1] * grid[2]

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Before the merger, back from the tower's order of windows into that of the image."""
        tower, grids = core.visual, torch.cat([each["image_grid_thw"] for each in pixels])
        states = tower(torch.cat([each["pixel_values"] for each in pixels]), grid_thw=grids).last_hidden_state
        order, _ = get_vision_window_index(
            grids, spatial_merge_size=tower.spatial_merge_size, window_size=tower.window_size,
            patch_size=tower.patch_size,
        )  # fmt: skip
        states = states.unflatten(0, (-1, self._unit))[torch.argsort(order.to(states.device))].flatten(0, 1)
        return list(states.split(grids.prod(-1).tolist()))

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """All images at once."""
        sizes = [len(part) // self._unit for part in features]
        return output(core.visual.merger(torch.cat(list(features))).split(sizes))

    def layout(self, core: Any, ids: Tensor, mask: Tensor | None, grids: Sequence[Grid]) -> dict[str, Tensor]:
        """`position_ids` `[4, b, l]`: of the text, then time, height and width (M-RoPE)."""
        types = (ids == self.image_token_id).int()
        shapes = torch.tensor(grids).view(-1, 3) if grids else None
        known = torch.ones_like(ids) if mask is None else mask
        places, _ = core.get_rope_index(ids, types, image_grid_thw=shapes, attention_mask=known)
        text = (known.cumsum(dim=1) - 1).clamp(min=0)
        return {"position_ids": torch.cat([text[None], places.to(text)])}
