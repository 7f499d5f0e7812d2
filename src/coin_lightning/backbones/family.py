"""`Family`: what one model architecture says of its images, so that one `Backbone` serves all of them.

transformers (from 5.18) takes projected features in `mm_encoder_outputs` and does the rest itself: where they go,
positions, masks, layers further up. What differs is how an image becomes pixels, features and tokens.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from PIL import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from coin_lightning.backbones.prompts import IMAGE
from coin_lightning.backbones.tower import image_edge

Grid = tuple[int, ...]
"""What lays out the features of one image, as its family counts: tiles, patches, its size; empty if all are alike."""
Size = tuple[int, int]
"""Width and height in pixels."""
STARTS = ("backbone", "pretrained", "instruction_tuned")
"""`backbone`: what the backbone's file holds, whatever it is; `pretrained`: parts that have not seen instructions
together; `instruction_tuned`: what the file holds, said outright."""
RELEASED = ("backbone", "instruction_tuned")
"""What a checkpoint has that nobody puts together from parts."""


@dataclass(frozen=True)
class Expansion:
    """What stands for an image in a prompt.

    Attributes:
        text: with the image token once per run.
        runs: tokens of each run.
    """

    text: str
    runs: tuple[int, ...]


class Family:
    """Base of all families; images of any size, one run of tokens each.

    Args:
        config: of the model.
        processor: image processor of Hugging Face.
        tokenizer: knows the image token.

    Attributes:
        model_types: of config.json.
        image_token_key: of config.json.
        flat_text_config: config.json may have the language model's settings beside `vision_config`, without a
            `text_config` around them.
        tower: the frozen part that sees pixels, a name within the model without its head.
        projectors: the parts between tower and language model, which may be trained.
        language_model: where the adapter goes.
        placeholder: what a prompt has for an image, before its expansion.
        image_tags: what every prompt has before and behind the placeholder, where it is the prompt that writes them.
        placeholder_is_image_token: whether that is the token whose places the features take.
        frames: of `images.FRAMES` that make sense; the first is the default.
        box_numbers: how its authors write boxes (`box_formats.NUMBERS`), for prompts in its own chat template.
        alike: all images have the same number of tokens, so that nobody needs their sizes.
        starts: starting weights that there are (`STARTS`).
        conversion: of `python -m coin_lightning convert`, where the published checkpoint needs it.
        greedy: its decoder sees what lies before a token and nothing else, so that `greedy.Greedy` answers.
    """

    model_types: tuple[str, ...] = ()
    image_token_key: str = "image_token_id"
    flat_text_config: bool = False
    tower: str = "vision_tower"
    projectors: tuple[str, ...] = ("multi_modal_projector",)
    language_model: str = "language_model"
    placeholder: str = IMAGE
    image_tags: tuple[str, str] = ("", "")
    placeholder_is_image_token: bool = True
    frames: tuple[str, ...] = ("whole",)
    box_numbers: str = "unit"
    alike: bool = False
    starts: tuple[str, ...] = RELEASED
    conversion: str | None = None
    greedy: bool = True

    @classmethod
    def check_start(cls, source: str, start: str) -> None:
        """Whether a checkpoint folder holds these starting weights, for families where it may hold others.

        Raises:
            ConfigError: it does not.
        """

    def __init__(self, config: Any, processor: Any, tokenizer: Any) -> None:
        self.config, self.processor = config, processor
        self.image_token_id: int = config.image_token_id
        self.image_token = str(tokenizer.convert_ids_to_tokens(self.image_token_id))
        self._expansion = cache(self.expansion)

    # images

    def pixels(self, image: Image.Image, frame: str) -> dict[str, Tensor]:
        """What the tower takes of one image in a frame (`images.FRAMES`), as the processor makes it."""
        return dict(self.processor(images=image, return_tensors="pt"))

    def grids(self, sizes: Sequence[Size]) -> list[Grid]:
        """Of the images of one sample, known by their headers alone."""
        return [self.grid(size) for size in sizes]

    def grid(self, size: Size) -> Grid:
        """Of an image that is alone in its sample; where all are alike, nothing."""
        if self.alike:
            return ()
        raise NotImplementedError

    def shown(self, size: Size) -> Size:
        """Width and height in which the tower sees an image, for families that write boxes in pixels."""
        return size

    def pixel_shape(self, grid: Grid) -> tuple[int, ...]:
        """Of `pixel_values` of an image, by the tower's config, where images are not alike."""
        raise NotImplementedError

    @property
    def tile_shape(self) -> tuple[int, int, int]:
        """Of a square image or tile; 0 where the config does not say it."""
        edge = image_edge(self.config) or 0
        return 3, edge, edge

    def tokens(self, grid: Grid) -> int:
        """Positions that an image takes in the sequence."""
        raise NotImplementedError

    def expansion(self, grid: Grid) -> Expansion:
        """What the placeholder becomes."""
        return Expansion(self.image_token, (self.tokens(grid),))

    def expanded(self, grid: Grid) -> Expansion:
        """`expansion`, remembered; on its way to a device a batch's grid becomes a list."""
        return self._expansion(tuple(grid))

    def check_tower(self, source: str) -> None:
        """Whether tower and projector fit each other, for families whose configs can contradict themselves.

        Raises:
            AssetError: they do not.
        """

    # model; `core` is the model without its head

    @property
    def width(self) -> int:
        """Values of a feature, before the projector."""
        return int(self.config.vision_config.hidden_size)

    @property
    def patches(self) -> int:
        """Of a square image or tile."""
        vision = self.config.vision_config
        return int((vision.image_size // vision.patch_size) ** 2)

    def feature_count(self, grid: Grid) -> int:
        """Features of an image, before the projector."""
        return self.tokens(grid)

    def features(self, core: Any, pixels: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Features `[count, width]` of each image from the frozen tower; `pixels` have its device and dtype."""
        raise NotImplementedError

    def project(self, core: Any, features: Sequence[Tensor], grids: Sequence[Grid]) -> BaseModelOutputWithPooling:
        """What the model takes as `mm_encoder_outputs["image"]`."""
        raise NotImplementedError

    def layout(self, core: Any, ids: Tensor, mask: Tensor | None, grids: Sequence[Grid]) -> dict[str, Tensor]:
        """What the model needs beside token ids `[b, l]` and features: positions, types; `mask` where padded left."""
        return {}

    def settings(self, frame: str) -> str:
        """What beside tower and processor decides the features, the frame included."""
        names = ("vision_feature_layer", "vision_feature_select_strategy")
        return repr((*(getattr(self.config, name, None) for name in names), frame))

    def code(self) -> str:
        """The source of classes that are not this project's, which nobody counts a version up for; empty without."""
        own = ("coin_lightning", "abc", "typing", "builtins")
        foreign = [kind for kind in type(self).__mro__ if kind.__module__.partition(".")[0] not in own]
        return sha256("".join(map(inspect.getsource, foreign)).encode()).hexdigest() if foreign else ""


def output(features: Any) -> BaseModelOutputWithPooling:
    """Projected features in the shape that models take."""
    return BaseModelOutputWithPooling(pooler_output=features)
