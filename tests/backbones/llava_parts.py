"""Writes what CoIN puts LLaVA together from: a language model as Vicuna's, a whole CLIP, a projector file."""

import json
from pathlib import Path

import llava_folder
import torch
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
)


def write_parts(folder: Path) -> None:
    """Write `whole` (a LLaVA as `llava-hf` publishes it) and what it would have been made of: `vicuna`, `clip` and
    `mm_projector.bin`."""
    whole = llava_folder.write(folder / "whole")
    _write_language_model(whole, folder)
    _write_tower(whole, folder)
    projector = whole.model.multi_modal_projector.state_dict()
    renamed = {name.replace("linear_1", "model.mm_projector.0").replace("linear_2", "model.mm_projector.2"): tensor
               for name, tensor in projector.items()}  # fmt: skip
    torch.save(renamed, folder / "mm_projector.bin")


def _write_language_model(whole: LlavaForConditionalGeneration, folder: Path) -> None:
    """As Vicuna's: without the two new words, with a settings file that transformers would refuse to write."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "whole")
    words = tokenizer.convert_tokens_to_ids("<image>")
    config = LlamaConfig(**{**whole.config.text_config.to_dict(), "vocab_size": words})
    model = LlamaForCausalLM(config)
    state = {name.replace("language_model.", ""): tensor for name, tensor in whole.state_dict().items()
             if "language_model." in name}  # fmt: skip
    state["lm_head.weight"] = whole.lm_head.weight
    state = {name: tensor[:words] if tensor.shape[0] == whole.config.text_config.vocab_size else tensor
             for name, tensor in state.items()}  # fmt: skip
    model.load_state_dict(state)
    model.save_pretrained(folder / "vicuna")
    (folder / "vicuna" / "generation_config.json").write_text(json.dumps({"temperature": 0.9, "top_p": 0.6}))
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    core["added_tokens"] = [token for token in core["added_tokens"] if token["content"] not in ("<image>", "<pad>")]
    (folder / "vicuna" / "tokenizer.json").write_text(json.dumps(core))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
    (folder / "vicuna" / "tokenizer_config.json").write_text(json.dumps({**settings, "legacy": False}))


def _write_tower(whole: LlavaForConditionalGeneration, folder: Path) -> None:
    """As CLIP is published: with its text half."""
    text = CLIPTextConfig(
        vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, projection_dim=16,
    )  # fmt: skip
    clip = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=whole.config.vision_config.to_dict()))
    vision = {name.removeprefix("model.vision_tower."): tensor for name, tensor in whole.state_dict().items()
              if "vision_tower" in name}  # fmt: skip
    prefix = "" if next(iter(vision)).startswith("vision_model.") else "vision_model."
    absent = set(clip.load_state_dict({prefix + name: tensor for name, tensor in vision.items()}, strict=False)[0])
    assert not any(name.startswith("vision_model.") for name in absent)
    clip.save_pretrained(folder / "clip")
    (folder / "clip" / "preprocessor_config.json").write_text(json.dumps(
        {key: value for key, value in llava_folder.PREPROCESSOR.items() if key != "processor_class"}
    ))  # fmt: skip
