"""What a vision tower takes and gives: its image size, and which of its states become features."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel

from coin_lightning.errors import AssetError

AGAIN = "or fetch the checkpoint again"


def select_features(states: Sequence[Tensor], config: Any) -> Tensor:
    """Features `[n, tokens, width]` out of a tower's hidden states `[n, tokens (+ 1), width]`, as the config says.

    Args:
        states: of all layers, the embedding's first.
        config: of the LLaVA: `vision_feature_layer`, `vision_feature_select_strategy` (`default`: no class token).

    Raises:
        IndexError: there is no such layer.
    """
    layers = config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    skip = 1 if config.vision_feature_select_strategy == "default" else 0
    return torch.cat([states[layer][:, skip:] for layer in layers], dim=-1)


def selected(core: Any, pixels: Tensor) -> Tensor:
    """`select_features` of pixels `[n, 3, S, S]`, by the tower of a model."""
    states = core.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
    return select_features(states, core.config)


def image_edge(config: Any) -> int | None:
    """Width and height in pixels that the tower's config asks for; None: it does not say."""
    size = getattr(config.vision_config, "image_size", None)
    return size if isinstance(size, int) or size is None else int(max(size))


def check_pixels(pixels: Tensor, config: Any, frame: str, source: str) -> None:
    """Refuse an image `[3, H, W]` that does not have the tower's size.

    Raises:
        AssetError: the preprocessing gives another.
    """
    edge, (height, width) = image_edge(config), tuple(pixels.shape[-2:])
    if edge is not None and (height, width) != (edge, edge):
        raise AssetError(
            f"{source}: preprocessor_config.json makes images of {width} x {height} pixels with "
            f"backbone.image_frame={frame}, but config.json has vision_config.image_size={edge}. Set its size and "
            f"crop_size to {edge} x {edge}, {AGAIN}"
        )


def feature_shape(config: Any, source: str) -> tuple[int, int]:
    """Tokens per image and width of one, found by running the tower on torch's `meta` device: exact, no weights.

    Args:
        config: of a LLaVA.
        source: for the message.

    Raises:
        AssetError: the tower has no such layer, or cannot be run.
    """
    edge = image_edge(config) or 224
    with torch.device("meta"), torch.no_grad():
        tower = AutoModel.from_config(config.vision_config).eval()
        states = tower(torch.empty(1, 3, edge, edge), output_hidden_states=True, return_dict=True).hidden_states
    try:
        tokens, width = select_features(states, config).shape[1:]
    except IndexError as error:
        count = len(states)
        raise AssetError(
            f"{source}: config.json has vision_feature_layer={config.vision_feature_layer}, but its tower has {count} "
            f"layers of states ({-count} to {count - 1}); correct vision_feature_layer, {AGAIN}"
        ) from error
    return tokens, width


def check_features(source: str, config: Any, expected: int) -> None:
    """Whether the tower of a LLaVA gives as many tokens per image, and as wide (`expected`), as its config says.

    Raises:
        AssetError: it does not.
    """
    tokens, width = feature_shape(config, source)
    strategy = config.vision_feature_select_strategy
    if tokens != config.image_seq_length:
        raise AssetError(
            f"{source}: config.json has image_seq_length={config.image_seq_length} (576 where the key is missing), but "
            f"its tower gives {tokens} tokens per image with vision_feature_select_strategy={strategy!r}. Correct "
            f"the one that is wrong (image_seq_length={tokens}, if it is that), {AGAIN}"
        )
    if width != expected:
        raise AssetError(
            f"{source}: its tower gives {width} values per token, but by vision_config.hidden_size in config.json the "
            f"projector takes {expected}; correct vision_config, {AGAIN}"
        )
