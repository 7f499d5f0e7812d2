"""Qwen-VL and Qwen-VL-Chat as published (config.json, `pytorch_model-*.bin`, qwen.tiktoken) for `networks/qwen_vl.py`.

Names in the published files -> ours:

    transformer.wte, ln_f, lm_head                  embed_tokens, norm, lm_head
    transformer.h.i.ln_1, ln_2                      layers.i.input_layernorm, post_attention_layernorm
    transformer.h.i.attn.c_attn, attn.c_proj        self_attn.qkv_proj, self_attn.o_proj
    transformer.h.i.mlp.w1, mlp.w2, mlp.c_proj      mlp.up_proj, mlp.gate_proj, mlp.down_proj: w2 is the gate
    transformer.visual.*                            vision_tower and, from attn_pool on, multi_modal_projector
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from coin_lightning.backbones.conversion.qwen_tokenizer import qwen_tokenizer
from coin_lightning.backbones.conversion.streaming import Conversion, Made
from coin_lightning.backbones.conversion.weight_sources import model_files
from coin_lightning.backbones.networks.qwen_vl import QwenVLConfig
from coin_lightning.errors import AssetError
from coin_lightning.json_files import load_object

VISUAL = "transformer.visual"
TOWER, PROJECTOR, TEXT = "model.vision_tower", "model.multi_modal_projector", "model.language_model"
COMPUTED = ("masked_bias", "inv_freq", ".attn.bias")
"""Ends of published names that hold nothing learned."""
MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def conversion(source: Path) -> Conversion:
    """What there is to do with a folder of Qwen-VL or Qwen-VL-Chat.

    Raises:
        AssetError, DataError: something in the folder is missing, unreadable, or of another model.
    """
    published = load_object(source / "config.json")
    tokenizer = qwen_tokenizer(source / "qwen.tiktoken")
    config = _config(source, published, tokenizer)

    def finish(out: Path) -> None:
        tokenizer.save_pretrained(out)
        image_processor(config.vision_config.image_size).save_pretrained(out)

    return Conversion(
        kind="qwen_vl", config=config, files=model_files(source), made=dict(_made(config)), finish=finish,
        ignored=lambda name: name.endswith(COMPUTED),
    )  # fmt: skip


def image_processor(edge: int) -> CLIPImageProcessorPil:
    """The whole image in a square, bicubic, by CLIP's mean and deviation."""
    return CLIPImageProcessorPil(
        size={"height": edge, "width": edge}, do_center_crop=False, resample=3, image_mean=MEAN, image_std=DEVIATION
    )


def _config(source: Path, published: dict[str, Any], tokenizer: Any) -> QwenVLConfig:
    file = source / "config.json"
    visual = published.get("visual")
    if published.get("model_type") != "qwen" or not isinstance(visual, dict):
        raise AssetError(
            f"{file}: has model_type={published.get('model_type')!r} and {'a' if visual else 'no'} visual part; this "
            "is no Qwen-VL. Give the folder of Qwen/Qwen-VL or Qwen/Qwen-VL-Chat"
        )
    needed = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "seq_length",
    )
    parts = ("image_size", "patch_size", "width", "layers", "heads", "mlp_ratio", "output_dim", "image_start_id")
    missing = [key for key in needed if key not in published] + [f"visual.{key}" for key in parts if key not in visual]
    if missing:
        raise AssetError(f"{file}: has no {missing[0]}; fetch it again")
    start = tokenizer.convert_tokens_to_ids("<img>")
    if visual["image_start_id"] != start:
        raise AssetError(
            f"{file}: has visual.image_start_id={visual['image_start_id']}, but qwen.tiktoken makes <img> {start}; "
            "they are of different checkpoints: fetch both again"
        )
    for key, only in (("rotary_pct", 1.0), ("no_bias", True)):
        if published.get(key, only) != only:
            raise AssetError(f"{file}: has {key}={published[key]}; only {only} is known of Qwen-VL")
    return QwenVLConfig(
        vision_config={
            "hidden_size": visual["width"], "intermediate_size": int(visual["width"] * visual["mlp_ratio"]),
            "num_hidden_layers": visual["layers"], "num_attention_heads": visual["heads"],
            "image_size": visual["image_size"], "patch_size": visual["patch_size"],
        },
        text_config={
            "vocab_size": published["vocab_size"], "hidden_size": published["hidden_size"],
            "intermediate_size": published["intermediate_size"] // 2,
            "num_hidden_layers": published["num_hidden_layers"],
            "num_attention_heads": published["num_attention_heads"],
            "num_key_value_heads": published["num_attention_heads"],
            "max_position_embeddings": published["seq_length"],
            "rms_norm_eps": published.get("layer_norm_epsilon", 1e-6),
            "rope_parameters": {"rope_type": "default", "rope_theta": float(published.get("rotary_emb_base", 10000))},
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<imgpad>"),
        image_seq_length=visual.get("n_queries", 256),
    )  # fmt: skip


def _made(config: QwenVLConfig) -> Iterator[tuple[str, Made]]:
    vision: Any = config.vision_config
    text: Any = config.text_config
    patches = (vision.image_size // vision.patch_size) ** 2
    yield f"{TOWER}.patch_embedding.weight", Made((f"{VISUAL}.conv1.weight",))
    yield f"{TOWER}.position_embedding", Made((f"{VISUAL}.positional_embedding",), partial(resized, count=patches))
    yield from _both(f"{TOWER}.pre_layernorm", f"{VISUAL}.ln_pre")
    for index in range(vision.num_hidden_layers):
        yield from _tower_layer(
            f"{TOWER}.encoder.layers.{index}", f"{VISUAL}.transformer.resblocks.{index}", vision.num_attention_heads
        )
    pool = f"{VISUAL}.attn_pool"
    yield f"{PROJECTOR}.query", Made((f"{pool}.query",))
    yield f"{PROJECTOR}.query_positions", Made((f"{pool}.pos_embed",))
    yield f"{PROJECTOR}.key_positions", Made((f"{pool}.pos_embed",), partial(resized, count=patches))
    for name in ("kv_proj.weight", "attn.in_proj_weight", "attn.in_proj_bias"):
        yield f"{PROJECTOR}.{name}", Made((f"{pool}.{name}",))
    for name in ("attn.out_proj", "ln_q", "ln_kv"):
        yield from _both(f"{PROJECTOR}.{name}", f"{pool}.{name}")
    yield from _both(f"{PROJECTOR}.ln_post", f"{VISUAL}.ln_post")
    yield f"{PROJECTOR}.proj.weight", Made((f"{VISUAL}.proj",), torch.t)
    yield f"{TEXT}.embed_tokens.weight", Made(("transformer.wte.weight",))
    for index in range(text.num_hidden_layers):
        yield from _decoder_layer(f"{TEXT}.layers.{index}", f"transformer.h.{index}")
    yield f"{TEXT}.norm.weight", Made(("transformer.ln_f.weight",))
    yield "lm_head.weight", Made(("lm_head.weight",))


def _both(ours: str, published: str) -> Iterator[tuple[str, Made]]:
    for kind in ("weight", "bias"):
        yield f"{ours}.{kind}", Made((f"{published}.{kind}",))


def _tower_layer(ours: str, published: str, heads: int) -> Iterator[tuple[str, Made]]:
    for part, name in enumerate(("q_proj", "k_proj", "v_proj")):
        for kind in ("weight", "bias"):
            rule = partial(of_heads, heads=heads, part=part)
            yield f"{ours}.self_attn.{name}.{kind}", Made((f"{published}.attn.in_proj.{kind}",), rule)
    names = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
             "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}  # fmt: skip
    for name, other in names.items():
        yield from _both(f"{ours}.{name}", f"{published}.{other}")


def _decoder_layer(ours: str, published: str) -> Iterator[tuple[str, Made]]:
    yield from _both(f"{ours}.self_attn.qkv_proj", f"{published}.attn.c_attn")
    names = {"self_attn.o_proj": "attn.c_proj", "mlp.up_proj": "mlp.w1", "mlp.gate_proj": "mlp.w2",
             "mlp.down_proj": "mlp.c_proj", "input_layernorm": "ln_1", "post_attention_layernorm": "ln_2"}  # fmt: skip
    for name, other in names.items():
        yield f"{ours}.{name}.weight", Made((f"{published}.{other}.weight",))


def of_heads(tensor: Tensor, heads: int, part: int) -> Tensor:
    """Query (0), key (1) or value (2) of rows that lie as `[head, (q, k, v), width of a head]`."""
    return tensor.unflatten(0, (heads, 3, -1))[:, part].flatten(0, 1)


def resized(positions: Tensor, count: int) -> Tensor:
    """Positions `[n, width]` of a square grid as those of a grid of `count`: bicubic, in float32."""
    old, new = round(len(positions) ** 0.5), round(count**0.5)
    if old == new:
        return positions
    grid = positions.float().unflatten(0, (old, old)).permute(2, 0, 1)[None]
    return F.interpolate(grid, (new, new), mode="bicubic")[0].flatten(1).T.to(positions.dtype)
