"""A small random MiniGPT-v2 in the three parts in which it is published, and what it computes, by other means."""

import math
from pathlib import Path
from typing import Any

import llava_parts
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

WIDTH, HEADS, LAYERS, WIDE, PATCH, LEARNED = 176, 2, 2, 192, 112, 4
"""Of the tower: heads of 88 values as EVA-CLIP-g's; 448 pixels are 16 patches, of which 4 positions were learned."""
RANK, ALPHA = 3, 12


def tower(seed: int = 0) -> dict[str, Tensor]:
    """`eva_vit_g.pth`: half precision, and a block, a norm and a head that MiniGPT-v2 does not use."""
    made = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.1) -> Tensor:
        return (torch.randn(shape, generator=made) * scale).half()

    found = {
        "cls_token": draw(1, 1, WIDTH), "pos_embed": draw(1, 1 + LEARNED, WIDTH),
        "patch_embed.proj.weight": draw(WIDTH, 3, PATCH, PATCH, scale=0.01), "patch_embed.proj.bias": draw(WIDTH),
        "norm.weight": draw(WIDTH), "norm.bias": draw(WIDTH), "head.weight": draw(5, WIDTH), "head.bias": draw(5),
    }  # fmt: skip
    for layer in (*range(LAYERS), 39):
        at = f"blocks.{layer}"
        shapes = {
            "attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.q_bias": (WIDTH,), "attn.v_bias": (WIDTH,),
            "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,), "mlp.fc1.weight": (WIDE, WIDTH),
            "mlp.fc1.bias": (WIDE,), "mlp.fc2.weight": (WIDTH, WIDE), "mlp.fc2.bias": (WIDTH,),
        }  # fmt: skip
        for name, shape in shapes.items():
            found[f"{at}.{name}"] = draw(*shape)
        for name in ("norm1", "norm2"):
            found[f"{at}.{name}.weight"], found[f"{at}.{name}.bias"] = 1 + draw(WIDTH), draw(WIDTH)
    return found


def stage(hidden: int, layers: int, seed: int = 1) -> dict[str, Any]:
    """`checkpoint_stage2.pth`: what was trained, under the names of PEFT 0.2, beside optimizer and config."""
    made = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=made) * 0.1

    weights = {"llama_proj.weight": draw(hidden, 4 * WIDTH), "llama_proj.bias": draw(hidden)}
    for layer in range(layers):
        for name in "qv":
            at = f"llama_model.base_model.model.model.layers.{layer}.self_attn.{name}_proj"
            weights[f"{at}.lora_A.weight"], weights[f"{at}.lora_B.weight"] = draw(RANK, hidden), draw(hidden, RANK)
    return {
        "model": weights, "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-5}]},
        "config": {"model": {"arch": "minigpt_v2", "lora_r": RANK, "lora_alpha": ALPHA}, "run": {"seed": 42}},
        "scaler": {"scale": 65536.0}, "epoch": 4,
    }  # fmt: skip


def write(folder: Path) -> Path:
    """The three parts in one folder."""
    llava_parts.write_parts(folder / "made")
    (folder / "made" / "vicuna").rename(folder / "Llama-2-7b-chat-hf")
    llama = load_file(folder / "Llama-2-7b-chat-hf" / "model.safetensors")
    layers = 1 + max(int(name.split(".")[2]) for name in llama if ".layers." in name)
    torch.save(tower(), folder / "eva_vit_g.pth")
    torch.save(stage(llama["model.norm.weight"].shape[0], layers), folder / "checkpoint_stage2.pth")
    return folder


def features(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """`[patches / 4, 4 x width]` of an image `[3, S, S]`: EVA's blocks head by head, a fresh norm, four joined."""
    own = {name: tensor.float() for name, tensor in weights.items()}

    def normed(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), own[f"{name}.weight"], own[f"{name}.bias"], eps=1e-6)

    edge = pixels.shape[-1] // PATCH
    rows = [
        (own["patch_embed.proj.weight"] * part).sum((1, 2, 3))
        for row in pixels.split(PATCH, dim=1) for part in row.split(PATCH, dim=2)
    ]  # fmt: skip
    old = math.isqrt(LEARNED)
    grid = own["pos_embed"][:, 1:].reshape(1, old, old, WIDTH).permute(0, 3, 1, 2)
    finer = F.interpolate(grid, size=(edge, edge), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)[0]
    x = torch.stack(rows) + own["patch_embed.proj.bias"] + finer.reshape(edge * edge, WIDTH)
    x = torch.cat([own["cls_token"][0] + own["pos_embed"][0, :1], x])
    for layer in range(LAYERS):
        at = f"blocks.{layer}"
        bias = torch.cat([own[f"{at}.attn.q_bias"], torch.zeros(WIDTH), own[f"{at}.attn.v_bias"]])
        query, key, value = (normed(x, f"{at}.norm1") @ own[f"{at}.attn.qkv.weight"].T + bias).chunk(3, -1)
        outputs = []
        for head in range(HEADS):
            part = slice(head * 88, (head + 1) * 88)
            outputs.append(torch.softmax(query[:, part] @ key[:, part].T / math.sqrt(88), -1) @ value[:, part])
        x = x + torch.cat(outputs, -1) @ own[f"{at}.attn.proj.weight"].T + own[f"{at}.attn.proj.bias"]
        wide = F.gelu(normed(x, f"{at}.norm2") @ own[f"{at}.mlp.fc1.weight"].T + own[f"{at}.mlp.fc1.bias"])
        x = x + wide @ own[f"{at}.mlp.fc2.weight"].T + own[f"{at}.mlp.fc2.bias"]
    return F.layer_norm(x, (WIDTH,), eps=1e-5)[1:].reshape(-1, 4 * WIDTH)


def logits(folder: Path, ids: list[int], image: Tensor, image_id: int, lora: bool) -> Tensor:
    """`[l, vocabulary]` of one sample: the library's own Llama and, with `lora`, PEFT's LoRA in it."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder / "Llama-2-7b-chat-hf", dtype=torch.float32)
    stored = torch.load(folder / "checkpoint_stage2.pth", weights_only=True)["model"]
    at = ids.index(image_id)
    count = ids.count(image_id)
    projected = features(tower(), image) @ stored["llama_proj.weight"].T + stored["llama_proj.bias"]
    assert len(projected) == count
    embed = model.get_input_embeddings()
    embeds = torch.cat([embed(torch.tensor(ids[:at])), projected, embed(torch.tensor(ids[at + count :]))])[None]
    if lora:
        settings = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        model = get_peft_model(model, settings)
        adapters = {name.removeprefix("llama_model."): tensor for name, tensor in stored.items() if "lora" in name}
        assert not set_peft_model_state_dict(model, adapters).unexpected_keys
    found: Tensor = model.eval()(inputs_embeds=embeds).logits[0]
    return found
