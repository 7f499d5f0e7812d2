"""Operations of a training step on a model of LLaVA's or Qwen3-VL's shape with frozen weights.

Counted is what the mathematics needs, not recomputation. A product of `m x k` with `k x n` is 2 m k n operations. A
frozen linear layer costs that twice (forward, gradient of its input), a trained one three times. Causal attention needs
half of its square.
"""

from dataclasses import dataclass
from typing import Any

PEAK_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "4090": 165.0,
}
"""Dense bfloat16 products, 10^12 per second, from the vendor's data sheets; the first name that is found counts."""


@dataclass(frozen=True)
class Step:
    """One step: samples, tokens per sample, image tokens per sample, learned tokens per sample."""

    samples: int
    length: int
    image_tokens: int
    learned: int


def _linears(text: Any) -> list[tuple[int, int]]:
    """(d_in, d_out) of one layer's linear layers."""
    width, wide, head = text.hidden_size, text.intermediate_size, text.head_dim
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    return [
        (width, queries),
        (width, keys),
        (width, keys),
        (queries, width),
        (width, wide),
        (width, wide),
        (wide, width),
    ]


def step_flops(config: Any, step: Step, rank: int, experts: int) -> dict[str, float]:
    """Operations of a step by part, from the model's config; adapters are MoELoRA on every linear layer."""
    text, tokens = config.text_config, step.samples * step.length
    linears = _linears(text) * text.num_hidden_layers
    adapters = sum(rank * (d_in + d_out) + experts * d_in for d_in, d_out in linears)
    width = text.hidden_size
    heads = text.num_attention_heads * text.head_dim
    images = step.samples * step.image_tokens
    return {
        "frozen_linears": 4.0 * tokens * sum(d_in * d_out for d_in, d_out in linears),
        "adapters": 6.0 * tokens * adapters,
        # two products forward, four backward, each 2 * length^2 / 2 * heads per sample
        "attention": 6.0 * step.samples * step.length**2 * heads * text.num_hidden_layers,
        "head": 4.0 * step.samples * step.learned * width * text.vocab_size,
        "projector": float(images * _projector(config)),
    }


def _projector(config: Any) -> float:
    """Per image token: two trained layers, of which the first needs no gradient of its input, the features."""
    vision, width = config.vision_config, config.text_config.hidden_size
    merged = getattr(vision, "spatial_merge_size", 1) ** 2 * vision.hidden_size
    if merged == vision.hidden_size:
        return 4.0 * merged * width + 6.0 * width * width
    mergers = 1 + len(vision.deepstack_visual_indexes)
    return mergers * (4.0 * merged * merged + 6.0 * merged * width)


def peak_flops(device_name: str, given_tflops: float | None = None) -> float | None:
    """Peak of a device per second; None when it is unknown and not given."""
    if given_tflops is not None:
        return given_tflops * 1e12
    return next((peak * 1e12 for name, peak in PEAK_TFLOPS.items() if name in device_name), None)
