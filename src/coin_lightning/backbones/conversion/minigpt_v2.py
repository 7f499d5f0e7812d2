"""MiniGPT-v2 as published (Llama-2-7b-chat, eva_vit_g.pth, a checkpoint of the second or third stage) for
`networks/minigpt_v2.py`.

The stage's checkpoint holds what was trained: `llama_proj` and the LoRA of Llama's query and value. CoIN's code means
to load both and loads the first only (its PEFT has other names, and what does not fit is left out without a word), so
that its published rows start without that LoRA. Both can be had here, and the manifest says which it is.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from coin_lightning.backbones.conversion.qwen_vl import PROJECTOR, TEXT, TOWER, image_processor, resized
from coin_lightning.backbones.conversion.streaming import Conversion, Made, constant
from coin_lightning.backbones.conversion.weight_sources import WeightFile, model_files
from coin_lightning.backbones.hub_files import read_pretrained
from coin_lightning.backbones.networks.minigpt_v2 import MiniGPTv2Config
from coin_lightning.backbones.prompts import IMAGE
from coin_lightning.backbones.starting_weights import padded_vocabulary, with_image_token
from coin_lightning.errors import AssetError

IMAGE_SIZE = 448
TOWER_FILE = "eva_vit_g.pth"
STAGES = ("minigptv2_checkpoint.pth", "checkpoint_stage3.pth", "checkpoint_stage2.pth")
"""Names under which the trained parts are published."""
LORA_KINDS = ("merged", "left_out")
UPSTREAM_ALPHA = 16
"""Of MiniGPT-v2's own configs, where the checkpoint does not say it."""
DEPTH, HEAD_WIDTH = 39, 88
"""Blocks of EVA-CLIP-g that MiniGPT-v2 uses (the last of the file's is left out), and values per head."""
UNUSED = re.compile(rf"blocks\.{DEPTH}\.|head\.|norm\.|fc_norm\.|.*inv_freq$")
"""Published names that MiniGPT-v2 does not load."""
LORA = re.compile(
    r"llama_model\.base_model\.model\.(model\.layers\.\d+\.self_attn\.[qv]_proj)\.lora_([AB])\.(?:default\.)?weight"
)


def conversion(
    source: Path,
    lora: str = "merged",
    language_model: Path | None = None,
    vision_tower: Path | None = None,
    checkpoint: Path | None = None,
) -> Conversion:
    """What there is to do with the parts of MiniGPT-v2.

    Args:
        source: folder with the parts that the next ones do not name.
        lora: `merged` into Llama, or `left_out`, as CoIN's code does.
        language_model: folder of Llama-2-7b-chat in Hugging Face format; default: the one folder in `source` that has
            a config.json.
        vision_tower: default: eva_vit_g.pth.
        checkpoint: of the second or third stage; default: the one in `source` that has one of `STAGES` as its name.

    Raises:
        AssetError: a part is missing, unreadable, or of another model.
    """
    folder = language_model or _only(
        source, [each.parent for each in source.glob("*/config.json")], "folder of Llama-2"
    )
    stage = WeightFile(checkpoint or _only(source, _named(source, STAGES), " or ".join(STAGES)), inside="model")
    tower = WeightFile(vision_tower or _only(source, _named(source, (TOWER_FILE,)), TOWER_FILE))
    text = read_pretrained(AutoConfig, str(folder), key="SRC", remedy="Give the folder of Llama-2-7b-chat")
    tokenizer = _tokenizer(folder)
    config = _config(text, tower, tokenizer)
    llama = model_files(folder)
    pairs = _lora_pairs(stage)
    if lora == "merged" and not pairs:
        raise AssetError(f"{stage.path}: holds no LoRA; say --lora left_out, or give another checkpoint")
    scale = _alpha(stage) / _rank(stage, pairs) if pairs else 0.0

    def finish(out: Path) -> None:
        tokenizer.save_pretrained(out)
        image_processor(config.vision_config.image_size).save_pretrained(out)

    unused = UNUSED if lora == "merged" else re.compile(f"{UNUSED.pattern}|{LORA.pattern}")
    return Conversion(
        kind="minigpt_v2",
        config=config,
        files=[*llama, tower, stage],
        made=dict(_made(config, pairs if lora == "merged" else {}, scale)),
        finish=finish,
        ignored=lambda name: bool(unused.match(name)),
        facts={"stage_lora": lora, "stage_lora_scale": scale},
    )


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Llama's, of a class that keeps what it was given: `LlamaTokenizer` makes its own rule for blanks anew when it is
    read, and a text behind an image would begin in another way."""
    llama = with_image_token(
        read_pretrained(AutoTokenizer, str(folder), key="SRC", remedy="Give Llama-2-7b-chat's folder", use_fast=True)
    )
    words = {name: getattr(llama, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return PreTrainedTokenizerFast(tokenizer_object=llama.backend_tokenizer, **words)


def _named(source: Path, names: tuple[str, ...]) -> list[Path]:
    return [source / name for name in names if (source / name).is_file()]


def _only(source: Path, found: list[Path], what: str) -> Path:
    if len(found) != 1:
        options = "--language-model, --vision-tower or --checkpoint"
        raise AssetError(f"{source}: must hold one {what}, found {len(found)}; put it there, or name it with {options}")
    return found[0]


def _config(text: Any, tower: WeightFile, tokenizer: Any) -> MiniGPTv2Config:
    if text.model_type != "llama":
        raise AssetError(f"SRC: the language model is a {text.model_type}, not a Llama; give Llama-2-7b-chat")
    missing = [
        name for name in ("pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight") if name not in tower
    ]
    if missing:
        raise AssetError(f"{tower.path}: has no {missing[0]}; give MiniGPT-v2's {TOWER_FILE}")
    width, _, patch, _ = tower.shapes["patch_embed.proj.weight"].shape
    layers = next(index for index in count() if f"blocks.{index}.norm1.weight" not in tower)
    text.vocab_size = padded_vocabulary(text.vocab_size, len(tokenizer))
    return MiniGPTv2Config(
        vision_config={
            "hidden_size": width, "intermediate_size": len(tower.shapes["blocks.0.mlp.fc1.weight"]),
            "num_attention_heads": max(width // HEAD_WIDTH, 1), "num_hidden_layers": min(layers, DEPTH),
            "image_size": IMAGE_SIZE, "patch_size": patch,
        },
        text_config=text, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(IMAGE_SIZE // patch) ** 2 // 4,
    )  # fmt: skip


Pairs = Mapping[str, Mapping[str, str]]
"""Layer of Llama -> its two LoRA matrices, A and B, by their published names."""


def _lora_pairs(stage: WeightFile) -> dict[str, dict[str, str]]:
    pairs: dict[str, dict[str, str]] = {}
    for name in stage:
        if found := LORA.fullmatch(name):
            pairs.setdefault(found[1], {})[found[2]] = name
    alone = sorted(layer for layer, each in pairs.items() if len(each) != 2)
    if alone:
        raise AssetError(f"{stage.path}: has one of the two LoRA matrices of {alone[0]}; fetch it again")
    return pairs


def _rank(stage: WeightFile, pairs: Pairs) -> int:
    return len(stage.shapes[next(iter(pairs.values()))["A"]])


def _alpha(stage: WeightFile) -> float:
    """What the checkpoint's own config says, else MiniGPT-v2's."""
    settings = stage.content.get("config") if isinstance(stage.content, dict) else None
    model = settings.get("model") if isinstance(settings, Mapping) else None
    return float(model.get("lora_alpha", UPSTREAM_ALPHA)) if isinstance(model, Mapping) else float(UPSTREAM_ALPHA)


def _made(config: MiniGPTv2Config, lora: Pairs, scale: float) -> Iterator[tuple[str, Made]]:
    vision: Any = config.vision_config
    text: Any = config.text_config
    positions = partial(with_class_token, count=(vision.image_size // vision.patch_size) ** 2)
    yield f"{TOWER}.embeddings.class_embedding", Made(("cls_token",))
    yield f"{TOWER}.embeddings.position_embedding", Made(("pos_embed",), positions)
    for kind in ("weight", "bias"):
        yield f"{TOWER}.embeddings.patch_embedding.{kind}", Made((f"patch_embed.proj.{kind}",))
    for index in range(vision.num_hidden_layers):
        yield from _tower_layer(f"{TOWER}.encoder.layers.{index}", f"blocks.{index}")
    for kind, value in (("weight", 1.0), ("bias", 0.0)):  # fresh, as MiniGPT-v2 has it
        yield f"{TOWER}.post_layernorm.{kind}", Made((), constant(value, vision.hidden_size))
        yield f"{PROJECTOR}.{kind}", Made((f"llama_proj.{kind}",))
    rows = partial(grown, rows=text.vocab_size)
    yield f"{TEXT}.embed_tokens.weight", Made(("model.embed_tokens.weight",), rows)
    yield "lm_head.weight", Made(("lm_head.weight",), rows)
    yield f"{TEXT}.norm.weight", Made(("model.norm.weight",))
    for index in range(text.num_hidden_layers):
        for name in DECODER_LAYER:
            layer = f"model.layers.{index}.{name}"
            made = Made((f"{layer}.weight",))
            if layer in lora:
                made = Made((f"{layer}.weight", lora[layer]["A"], lora[layer]["B"]), partial(merged, scale=scale))
            yield f"{TEXT}.layers.{index}.{name}.weight", made


DECODER_LAYER = (
    *(f"self_attn.{name}_proj" for name in "qkvo"), "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    "input_layernorm", "post_attention_layernorm",
)  # fmt: skip


def _tower_layer(ours: str, published: str) -> Iterator[tuple[str, Made]]:
    names = {"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.projection": "attn.proj",
             "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}  # fmt: skip
    for name, other in names.items():
        for kind in ("weight", "bias"):
            yield f"{ours}.{name}.{kind}", Made((f"{published}.{other}.{kind}",))
    yield f"{ours}.self_attn.qkv.weight", Made((f"{published}.attn.qkv.weight",))
    yield f"{ours}.self_attn.qkv.bias", Made((f"{published}.attn.q_bias", f"{published}.attn.v_bias"), without_key_bias)


def without_key_bias(query: Tensor, value: Tensor) -> Tensor:
    """Bias of query, key and value in one; the key has none."""
    return torch.cat([query, torch.zeros_like(value), value])


def with_class_token(positions: Tensor, count: int) -> Tensor:
    """Positions `[1, 1 + n, width]` for `1 + count`, in float32: the class token's stays, the others are `resized`."""
    exact = positions[0].float()
    return torch.cat([exact[:1], resized(exact[1:], count)])[None]


def grown(matrix: Tensor, rows: int) -> Tensor:
    """A vocabulary's matrix with rows for new words, each the mean of the old ones (as `grow_vocabulary`)."""
    return torch.cat([matrix, matrix.mean(0, keepdim=True).expand(rows - len(matrix), -1)])


def merged(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """`W + scale B A` (arXiv 2106.09685, section 4.1), added in float32."""
    return (weight.float() + scale * (b.float() @ a.float())).to(weight.dtype)
