"""Idefics3 (arXiv 2408.12637) and SmolVLM (arXiv 2504.05299): numbered tiles, and the whole image behind them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from coin_lightning.backbones.family import Expansion, Family, Grid, Size, output

FAKE = "<fake_token_around_image>"


class Idefics3(Family):
    """A grid is the rows and columns of the tiles, none where the image is not cut."""

    model_types = ("idefics3", "smolvlm")
    tower = "vision_model"
    projectors = ("connector",)
    language_model = "text_model"

    def pixels(self, image: Image.Image, frame: str) -> dict[str, Tensor]:
        """`pixel_values`: `[tiles, 3, S, S]`."""
        return {"pixel_values": self.processor(images=[[image]], return_tensors="pt")["pixel_values"][0]}

    def grid(self, size: Size) -> Grid:
        """As the processor cuts it."""
        _, rows, columns = self.processor.get_number_of_image_patches(size[1], size[0], {})
        return int(rows), int(columns)

    def pixel_shape(self, grid: Grid) -> tuple[int, ...]:
        """Tile after tile, the whole image last."""
        return grid[0] * grid[1] + 1, *self.tile_shape

    @property
    def per_tile(self) -> int:
        """Tokens of a tile."""
        return self.patches // int(self.config.scale_factor) ** 2

    def tokens(self, grid: Grid) -> int:
        """Of all tiles and the whole image."""
        return (grid[0] * grid[1] + 1) * self.per_tile

    def feature_count(self, grid: Grid) -> int:
        """A feature per patch."""
        return (grid[0] * grid[1] + 1) * self.patches

    def expansion(self, grid: Grid) -> Expansion:
        """Each tile behind its place, rows on lines of their own, and the whole image at the end."""
        rows, columns = grid
        lines = [
            "".join(f"{FAKE}<row_{row + 1}_col_{column + 1}>{self.image_token}" for column in range(columns)) + "\n"
            for row in range(rows)
        ]
        before = "".join(lines) + "\n" if lines else ""
        text = f"{before}{FAKE}<global-img>{self.image_token}{FAKE}"
        return Expansion(text, (self.per_tile,) * (rows * columns + 1))

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Tile after tile, before the connector."""
        counts = [len(each["pixel_values"]) for each in pixels]
        states = core.vision_model(pixel_values=torch.cat([each["pixel_values"] for each in pixels])).last_hidden_state
        return [part.flatten(0, 1) for part in states.split(counts)]

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """All tiles at once."""
        tiles = [part.unflatten(0, (-1, self.patches)) for part in features]
        projected = core.connector(torch.cat(tiles)).split([*map(len, tiles)])
        return output([part.flatten(0, 1) for part in projected])
