"""MiniGPT-v2 (arXiv 2310.09478): 448 x 448 pixels, four neighbouring tokens joined (`networks/minigpt_v2.py`)."""

from pathlib import Path

from coin_lightning.backbones.conversion.streaming import MANIFEST
from coin_lightning.backbones.families.square import Assembled
from coin_lightning.backbones.family import STARTS, Grid
from coin_lightning.backbones.networks.minigpt_v2 import JOINED  # tells transformers of the model
from coin_lightning.errors import ConfigError
from coin_lightning.json_files import load_object

LORA = {"pretrained": "left_out", "instruction_tuned": "merged"}
"""Starting weights -> what the conversion has done with the LoRA of MiniGPT-v2's last stage."""


class MiniGPTv2(Assembled):
    """Features are four states of the tower each."""

    model_types = ("minigpt_v2",)
    box_numbers = "percent_tags"
    starts = STARTS
    conversion = "minigpt_v2"

    @classmethod
    def check_start(cls, source: str, start: str) -> None:
        """`pretrained` is without the last stage's LoRA, as CoIN's code has it; `instruction_tuned` is with it."""
        manifest = Path(source) / MANIFEST
        wanted = LORA.get(start)
        found = load_object(manifest).get("stage_lora") if manifest.is_file() else None
        if wanted is not None and found != wanted:
            raise ConfigError(
                f"protocol.starting_weights={start!r} of a MiniGPT-v2 is one whose LoRA is {wanted}, but by {manifest} "
                f"it is {found}. Convert it so: python -m coin_lightning convert minigpt_v2 SRC OUT --lora {wanted}, "
                "and give backbone.path=OUT"
            )

    @property
    def width(self) -> int:
        """Of four states."""
        return super().width * JOINED

    def feature_count(self, grid: Grid) -> int:
        """As many as tokens."""
        return self.tokens(grid)
