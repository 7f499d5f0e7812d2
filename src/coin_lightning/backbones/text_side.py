"""A backbone without its weights: tokenizer, prompt and sizes, for those who only count tokens."""

from typing import Any

import torch
from transformers import AutoModelForImageTextToText


def empty_model(config: Any) -> Any:
    """The shape of a checkpoint on torch's `meta` device: no weight is read or allocated."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config).eval()
