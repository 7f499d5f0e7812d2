"""Writes a small checkpoint in the format of `llava-hf/llava-1.5-7b-hf`: files, key names, special tokens."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

CHARACTERS = "▁\nABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.,:?'()0123456789"
WORDS = ("▁No", "▁cat", "USER", "ASSISTANT")
WIDTH, LAYERS, SIZE, PATCH = 32, 2, 28, 14


def llama_tokenizer() -> Tokenizer:
    """A byte-fallback BPE with Llama's normaliser, `<s>` in front, and LLaVA's two added tokens at the end."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *CHARACTERS]
    merges = []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    vocabulary = {token: index for index, token in enumerate(tokens)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens([AddedToken(token, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    core.add_special_tokens([AddedToken(token, normalized=False) for token in ("<image>", "<pad>")])
    return core


def write(folder: Path, shards: int = 3) -> LlavaForConditionalGeneration:
    """Write the checkpoint and give the model it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    core = llama_tokenizer()
    core.save(str(folder / "tokenizer.json"))
    image_id, pad_id = core.token_to_id("<image>"), core.token_to_id("<pad>")
    _dump(folder / "tokenizer_config.json", _tokenizer_config(core))
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _dump(folder / "special_tokens_map.json", special)
    _dump(folder / "added_tokens.json", {"<image>": image_id, "<pad>": pad_id})
    _dump(folder / "preprocessor_config.json", PREPROCESSOR)
    _dump(folder / "processor_config.json", PROCESSOR)
    _dump(folder / "chat_template.json", {"chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"})
    _dump(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": pad_id})
    vocabulary = -(-(pad_id + 1) // 64) * 64  # padded, as 32002 tokens became 32064 rows
    _dump(folder / "config.json", _config(image_id, pad_id, vocabulary))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(LlavaConfig.from_pretrained(folder)).eval()
    _save_weights(folder, model, shards)
    return model


def old_name(name: str) -> str:
    """The name that a tensor has in the published files, which are older than transformers' present module tree."""
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    name = name.removeprefix("model.")
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return name


def _save_weights(folder: Path, model: LlavaForConditionalGeneration, shards: int) -> None:
    tensors = {old_name(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    names = sorted(tensors)
    index = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard::shards]
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    total = sum(tensor.numel() * 4 for tensor in tensors.values())
    _dump(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})


def _dump(file: Path, data: dict) -> None:
    file.write_text(json.dumps(data, indent=2))


def _tokenizer_config(core: Tokenizer) -> dict:
    added = {
        str(core.token_to_id(token)): {"content": token, "lstrip": False, "normalized": False, "rstrip": False,
                                       "single_word": False, "special": True}
        for token in ("<unk>", "<s>", "</s>", "<image>", "<pad>")
    }  # fmt: skip
    return {
        "add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": added, "bos_token": "<s>",
        "clean_up_tokenization_spaces": False, "eos_token": "</s>", "legacy": False, "model_max_length": 10**30,
        "pad_token": "<pad>", "padding_side": "left", "processor_class": "LlavaProcessor",
        "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>", "use_default_system_prompt": False,
    }  # fmt: skip


PROCESSOR = {
    "image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": PATCH,
    "processor_class": "LlavaProcessor", "vision_feature_select_strategy": "default",
}  # fmt: skip
PREPROCESSOR = {
    "crop_size": {"height": SIZE, "width": SIZE}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
    "do_rescale": True, "do_resize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711],
    "processor_class": "LlavaProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": SIZE},
}  # fmt: skip


def _config(image_id: int, pad_id: int, vocabulary: int) -> dict:
    text = LlamaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=4096, rms_norm_eps=1e-5,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=SIZE,
        patch_size=PATCH, projection_dim=16,
    )  # fmt: skip
    return {
        "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_token_index": image_id,
        "image_seq_length": (SIZE // PATCH) ** 2, "model_type": "llava", "pad_token_id": pad_id,
        "projector_hidden_act": "gelu", "text_config": text.to_dict(), "tie_word_embeddings": False,
        "torch_dtype": "float32", "vision_config": vision.to_dict(), "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default", "vocab_size": vocabulary,
    }  # fmt: skip
