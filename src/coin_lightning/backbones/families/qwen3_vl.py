"""Qwen3-VL (arXiv 2511.21631): as Qwen2.5-VL, and features of further tower layers enter the first layers above."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from coin_lightning.backbones.families.qwen2_5_vl import Qwen25VL
from coin_lightning.backbones.family import Grid


class Qwen3VL(Qwen25VL):
    """A feature is the last state of a patch beside those of the layers that go deep (deepstack)."""

    model_types = ("qwen3_vl",)
    flat_text_config = False
    box_numbers = "thousand"

    def __init__(self, config: Any, processor: Any, tokenizer: Any) -> None:
        super().__init__(config, processor, tokenizer)
        self._deep = len(config.vision_config.deepstack_visual_indexes)
        self.projectors = ("visual.merger", *(f"visual.deepstack_merger_list.{at}" for at in range(self._deep)))

    @property
    def width(self) -> int:
        """Of all these states together."""
        return super().width * (1 + self._deep)

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Before the mergers."""
        tower, grids = core.visual, torch.cat([each["image_grid_thw"] for each in pixels])
        kept: list[Tensor] = []
        hooks = [
            tower.blocks[at].register_forward_hook(lambda block, given, found: kept.append(found))
            for at in tower.deepstack_visual_indexes
        ]
        try:
            with _without_mergers(tower):
                last = tower(torch.cat([each["pixel_values"] for each in pixels]), grid_thw=grids).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        return list(torch.cat([last, *kept], dim=-1).split(grids.prod(-1).tolist()))

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> Any:
        """Each state by its own merger."""
        tower, sizes = core.visual, [len(part) // self._unit for part in features]
        last, *deep = torch.cat(list(features)).chunk(1 + self._deep, dim=-1)
        mergers = tower.deepstack_merger_list
        return BaseModelOutputWithDeepstackFeatures(
            pooler_output=tower.merger(last.contiguous()).split(sizes),
            deepstack_features=[
                merge(part.contiguous()).split(sizes) for merge, part in zip(mergers, deep, strict=True)
            ],
        )


@contextmanager
def _without_mergers(tower: Any) -> Iterator[None]:
    """The tower alone: what its mergers would make of the states is not asked for, and those that learn are in float32,
    whatever the tower is in."""
    merger, deep = tower.merger, tower.deepstack_merger_list
    tower.merger, tower.deepstack_merger_list = nn.Identity(), nn.ModuleList(nn.Identity() for _ in deep)
    try:
        yield
    finally:
        tower.merger, tower.deepstack_merger_list = merger, deep
