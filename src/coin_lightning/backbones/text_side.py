"""A backbone without its weights: tokenizer, prompt and sizes, for those who only count tokens."""

from typing import Any

import torch
from transformers import AutoConfig, LlavaConfig, LlavaForConditionalGeneration

from coin_lightning.backbones.hub_files import read_pretrained
from coin_lightning.errors import AssetError


def empty_llava(source: str | LlavaConfig) -> LlavaForConditionalGeneration:
    """The shape of a LLaVA checkpoint on torch's `meta` device: from its `config.json`, no weight is read or allocated.

    Args:
        source: folder or hub name, as for `load_llava`, or the config itself.

    Raises:
        AssetError: there is no readable `config.json`, or it is of another model.
    """
    config: Any = source if isinstance(source, LlavaConfig) else read_pretrained(AutoConfig, source)
    if not isinstance(config, LlavaConfig):
        raise AssetError(f"{source}: config.json is of a {type(config).__name__}, not of a LLaVA model")
    with torch.device("meta"):
        return LlavaForConditionalGeneration(config).eval()
