"""A small random Qwen-VL in the files in which it is published, and what it computes, written out slowly."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

WORDS = (b"th", b"the", b" t", b" the", b"ca", b"cat", b"is", b" is", b"it", b"Wh", b"at", b"What")
RANKS = 256 + len(WORDS)
IMAGE_START = RANKS + 214
"""Id of `<img>`: behind the ranks, 208 markers and three pairs of tags."""
VISUAL = {
    "heads": 4, "image_size": 56, "image_start_id": IMAGE_START, "layers": 2, "mlp_ratio": 4.9231, "output_dim": 256,
    "patch_size": 14, "width": 32, "n_queries": 4,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "architectures": ["QWenLMHeadModel"], "attn_dropout_prob": 0.0, "auto_map": {"AutoConfig": "configuration_qwen.X"},
    "bf16": False, "emb_dropout_prob": 0.0, "hidden_size": 256, "initializer_range": 0.02, "intermediate_size": 192,
    "kv_channels": 64, "layer_norm_epsilon": 1e-6, "max_position_embeddings": 8192, "model_type": "qwen",
    "no_bias": True, "num_attention_heads": 4, "num_hidden_layers": 2, "rotary_emb_base": 10000, "rotary_pct": 1.0,
    "scale_attn_weights": True, "seq_length": 2048, "tie_word_embeddings": False, "use_dynamic_ntk": True,
    "use_logn_attn": True, "visual": VISUAL, "vocab_size": RANKS + 224,
}  # fmt: skip
LEARNED = 4
"""Positions that the tower has learned; it sees 16 patches."""


def state(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random weights by their published names."""
    made = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.15) -> Tensor:
        return (torch.randn(shape, generator=made) * scale).to(dtype)

    def norm(width: int) -> Tensor:
        return (1 + torch.randn(width, generator=made) * 0.1).to(dtype)

    hidden, half = CONFIG["hidden_size"], CONFIG["intermediate_size"] // 2
    found = {"transformer.wte.weight": draw(CONFIG["vocab_size"], hidden, scale=0.5)}
    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"transformer.h.{layer}"
        found[f"{at}.ln_1.weight"], found[f"{at}.ln_2.weight"] = norm(hidden), norm(hidden)
        found[f"{at}.attn.c_attn.weight"], found[f"{at}.attn.c_attn.bias"] = draw(3 * hidden, hidden), draw(3 * hidden)
        found[f"{at}.attn.c_proj.weight"] = draw(hidden, hidden)
        found[f"{at}.mlp.w1.weight"], found[f"{at}.mlp.w2.weight"] = draw(half, hidden), draw(half, hidden)
        found[f"{at}.mlp.c_proj.weight"] = draw(hidden, half)
    found["transformer.ln_f.weight"], found["lm_head.weight"] = norm(hidden), draw(CONFIG["vocab_size"], hidden)
    width, wide = VISUAL["width"], int(VISUAL["width"] * VISUAL["mlp_ratio"])
    at = "transformer.visual"
    found[f"{at}.conv1.weight"] = draw(width, 3, VISUAL["patch_size"], VISUAL["patch_size"], scale=0.05)
    found[f"{at}.positional_embedding"] = draw(LEARNED, width)
    names = {"ln_pre": width, "ln_post": hidden, "attn_pool.ln_q": hidden, "attn_pool.ln_kv": hidden}
    for layer in range(VISUAL["layers"]):
        block = f"transformer.resblocks.{layer}"
        names |= {f"{block}.ln_1": width, f"{block}.ln_2": width}
        for name, shape in {
            "attn.in_proj": (3 * width, width), "attn.out_proj": (width, width), "mlp.c_fc": (wide, width),
            "mlp.c_proj": (width, wide),
        }.items():  # fmt: skip
            found[f"{at}.{block}.{name}.weight"], found[f"{at}.{block}.{name}.bias"] = draw(*shape), draw(shape[0])
    for name, size in names.items():
        found[f"{at}.{name}.weight"], found[f"{at}.{name}.bias"] = norm(size), draw(size)
    pool = f"{at}.attn_pool"
    found[f"{pool}.query"] = draw(VISUAL["n_queries"], hidden)
    found[f"{pool}.pos_embed"] = draw(VISUAL["n_queries"], hidden)
    found[f"{pool}.kv_proj.weight"] = draw(hidden, width)
    found[f"{pool}.attn.in_proj_weight"], found[f"{pool}.attn.in_proj_bias"] = (
        draw(3 * hidden, hidden),
        draw(3 * hidden),
    )
    found[f"{pool}.attn.out_proj.weight"], found[f"{pool}.attn.out_proj.bias"] = draw(hidden, hidden), draw(hidden)
    found[f"{at}.proj"] = draw(hidden, hidden)
    return found


def write(folder: Path, weights: dict[str, Tensor] | None = None) -> Path:
    """The published files: config, ranks, two shards of PyTorch's with an index."""
    weights = state() if weights is None else weights
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tokens = [bytes([byte]) for byte in range(256)] + list(WORDS)
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (folder / "qwen.tiktoken").write_text("\n".join(lines) + "\n")
    names = list(weights)
    halves = {"pytorch_model-00001-of-00002.bin": names[: len(names) // 2],
              "pytorch_model-00002-of-00002.bin": names[len(names) // 2 :]}  # fmt: skip
    for file, part in halves.items():
        torch.save({name: weights[name] for name in part}, folder / file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    index = {
        "metadata": {"total_size": total},
        "weight_map": {name: file for file, part in halves.items() for name in part},
    }
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def bicubic(positions: Tensor, edge: int) -> Tensor:
    """Positions of a square grid for a finer one."""
    old = math.isqrt(len(positions))
    grid = positions.float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    finer = F.interpolate(grid, size=(edge, edge), mode="bicubic", align_corners=False)
    return finer.permute(0, 2, 3, 1).reshape(edge * edge, -1)


def features(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """`[queries, hidden]` of an image `[3, S, S]`: paper, section 2.1, head by head."""
    own = {name.removeprefix("transformer.visual."): tensor for name, tensor in weights.items() if ".visual." in name}
    edge, width, heads = VISUAL["image_size"] // VISUAL["patch_size"], VISUAL["width"], VISUAL["heads"]

    def normed(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], own[f"{name}.weight"], own[f"{name}.bias"], eps=1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ own[f"{name}.weight"].T + own[f"{name}.bias"]

    patch = VISUAL["patch_size"]
    rows = [
        (own["conv1.weight"] * part).sum((1, 2, 3))
        for row in pixels.split(patch, dim=1) for part in row.split(patch, dim=2)
    ]  # fmt: skip
    x = normed(torch.stack(rows) + bicubic(own["positional_embedding"], edge), "ln_pre")
    for layer in range(VISUAL["layers"]):
        block = f"transformer.resblocks.{layer}"
        mixed = linear(normed(x, f"{block}.ln_1"), f"{block}.attn.in_proj")
        size = width // heads
        outputs = []
        for head in range(heads):
            query, key, value = mixed[:, head * 3 * size : (head + 1) * 3 * size].split(size, dim=-1)
            outputs.append(torch.softmax(query @ key.T / math.sqrt(size), dim=-1) @ value)
        x = x + linear(torch.cat(outputs, dim=-1), f"{block}.attn.out_proj")
        x = x + linear(F.gelu(linear(normed(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")), f"{block}.mlp.c_proj")
    values = normed(x @ own["attn_pool.kv_proj.weight"].T, "attn_pool.ln_kv")
    keys = values + bicubic(own["attn_pool.pos_embed"], edge)
    queries = normed(own["attn_pool.query"], "attn_pool.ln_q") + own["attn_pool.pos_embed"]
    weight, bias = own["attn_pool.attn.in_proj_weight"].chunk(3), own["attn_pool.attn.in_proj_bias"].chunk(3)
    query, key, value = (part @ w.T + b for part, w, b in zip((queries, keys, values), weight, bias, strict=True))
    outputs = []
    for head in range(VISUAL["output_dim"] // 128):
        at = slice(head * 128, (head + 1) * 128)
        outputs.append(torch.softmax(query[:, at] @ key[:, at].T / math.sqrt(128), dim=-1) @ value[:, at])
    pooled = linear(torch.cat(outputs, dim=-1), "attn_pool.attn.out_proj")
    return normed(pooled, "ln_post") @ own["proj"]


def logits(weights: dict[str, Tensor], ids: list[int], images: list[Tensor]) -> Tensor:
    """`[l, vocabulary]` of one sample: Qwen-7B with features in the places of `<imgpad>`."""
    x = weights["transformer.wte.weight"][ids].clone()
    if images:
        x[torch.tensor(ids) == IMAGE_START + 2] = torch.cat([features(weights, pixels) for pixels in images])
    hidden, heads = CONFIG["hidden_size"], CONFIG["num_attention_heads"]
    size, length = hidden // heads, len(ids)
    angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)
    turn, mask = torch.cat([angles, angles], -1), torch.full((length, length), -math.inf).triu(1)

    def rms(x: Tensor, name: str) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weights[f"transformer.{name}.weight"]

    def rotated(x: Tensor) -> Tensor:
        half = torch.cat([-x[:, size // 2 :], x[:, : size // 2]], dim=-1)
        return x * turn.cos() + half * turn.sin()

    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"transformer.h.{layer}"
        normed = rms(x, f"h.{layer}.ln_1")
        query, key, value = (normed @ weights[f"{at}.attn.c_attn.weight"].T + weights[f"{at}.attn.c_attn.bias"]).chunk(
            3, -1
        )
        outputs = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = rotated(query[:, part]) @ rotated(key[:, part]).T / math.sqrt(size)
            outputs.append(torch.softmax(scores + mask, dim=-1) @ value[:, part])
        x = x + torch.cat(outputs, -1) @ weights[f"{at}.attn.c_proj.weight"].T
        normed = rms(x, f"h.{layer}.ln_2")
        gated = normed @ weights[f"{at}.mlp.w1.weight"].T * F.silu(normed @ weights[f"{at}.mlp.w2.weight"].T)
        x = x + gated @ weights[f"{at}.mlp.c_proj.weight"].T
    return rms(x, "ln_f") @ weights["lm_head.weight"].T
