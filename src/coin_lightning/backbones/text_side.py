"""A backbone without its weights: tokenizer, prompt and sizes, for those who only count tokens."""

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration


def empty_llava(config: LlavaConfig) -> LlavaForConditionalGeneration:
    """The shape of a LLaVA checkpoint on torch's `meta` device: no weight is read or allocated."""
    with torch.device("meta"):
        return LlavaForConditionalGeneration(config).eval()
