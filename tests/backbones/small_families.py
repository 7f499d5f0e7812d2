"""A random model of some fifty thousand parameters for each family, with a byte tokenizer and its processor."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3TextConfig,
    Idefics3Config,
    InternVLConfig,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaOnevisionConfig,
    MistralConfig,
    Qwen2_5_VLConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3VLConfig,
    SiglipVisionConfig,
    SmolVLMConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.chat_templates import prompt_for
from coin_lightning.backbones.families.anyres import LlavaNext, LlavaOnevision
from coin_lightning.backbones.families.gemma3 import Gemma3
from coin_lightning.backbones.families.idefics3 import Idefics3
from coin_lightning.backbones.families.internvl import InternVL
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.backbones.families.minigpt_v2 import MiniGPTv2
from coin_lightning.backbones.families.qwen2_5_vl import Qwen25VL
from coin_lightning.backbones.families.qwen3_vl import Qwen3VL
from coin_lightning.backbones.families.qwen_vl import QwenVL
from coin_lightning.backbones.family import Family
from coin_lightning.backbones.networks.minigpt_v2 import MiniGPTv2Config
from coin_lightning.backbones.networks.qwen_vl import QwenVLConfig
from coin_lightning.backbones.prompts import IMAGE

PINPOINTS = [[28, 56], [56, 28], [56, 56]]
GRID = {"shortest_edge": 28}
SQUARE = {"height": 56, "width": 56}
MARKERS = (
    "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<IMG_CONTEXT>", "<img>", "</img>",
    "<imgpad>",
    "<start_of_image>", "<end_of_image>", "<image_soft_token>", "<fake_token_around_image>", "<global-img>",
    "<end_of_utterance>", "<start_of_turn>", "<end_of_turn>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)),
)  # fmt: skip


def tokenizer() -> Any:
    """Bytes, and the markers of all families."""
    made = tiny.byte_tokenizer()
    made.add_special_tokens({"additional_special_tokens": [AddedToken(each, special=True) for each in MARKERS]})
    return made


@dataclass(frozen=True)
class Small:
    """What a family's small model is made of."""

    family: type[Family]
    config: Callable[[dict[str, Any], dict[str, int]], Any]
    processor: Callable[[], Any]
    template: str


def text(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 2, "tie_word_embeddings": False,
    }  # fmt: skip


def chat(before: str, user: str, model: str, colon: str, after: str, image: str) -> str:
    """A chat template of the form that most checkpoints have."""
    return (
        "{% for message in messages %}" + before
        + "{{ {'user': '" + user + "', 'assistant': '" + model + "'}[message['role']] }}" + colon
        + "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + image
        + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}" + after + "{% endfor %}"
        + "{% if add_generation_prompt %}" + before + model + colon.rstrip(" ") + "{% endif %}"
    ).replace("\\n", "\n")  # fmt: skip


QWEN = chat("<|im_start|>", "user", "assistant", "\\n", "<|im_end|>\\n", "<|vision_start|><|image_pad|><|vision_end|>")
UTTERANCES = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
CLIP = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
MROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}


def _qwen(ids: dict[str, int]) -> dict[str, int]:
    return {
        "image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
    }  # fmt: skip


SMALL = {
    "llava": Small(
        Llava,
        lambda text, ids: LlavaConfig(
            vision_config=CLIPVisionConfig(**CLIP, image_size=28), text_config=LlamaConfig(**text),
            image_token_index=ids[IMAGE], image_seq_length=4,
        ),
        lambda: CLIPImageProcessorPil(size=GRID, crop_size={"height": 28, "width": 28}),
        chat("", "USER", "ASSISTANT", ": ", " ", "<image>\\n"),
    ),
    "llava_next": Small(
        LlavaNext,
        lambda text, ids: LlavaNextConfig(
            vision_config=CLIPVisionConfig(**CLIP, image_size=28),
            text_config=MistralConfig(**text, sliding_window=None), image_token_index=ids[IMAGE],
            image_grid_pinpoints=PINPOINTS, image_seq_length=4,
        ),
        lambda: LlavaNextImageProcessorPil(
            size=GRID, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=PINPOINTS
        ),
        chat("", "USER", "ASSISTANT", ": ", " ", "<image>\\n"),
    ),
    "llava_onevision": Small(
        LlavaOnevision,
        lambda text, ids: LlavaOnevisionConfig(
            vision_config=SiglipVisionConfig(**CLIP, image_size=28, vision_use_head=False),
            text_config=Qwen2Config(**text), image_token_index=ids[IMAGE], video_token_index=ids["<|video_pad|>"],
            image_grid_pinpoints=PINPOINTS, image_seq_length=4,
        ),
        lambda: LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=PINPOINTS),
        chat("<|im_start|>", "user", "assistant", " ", "<|im_end|>", "<image>\\n"),
    ),
    "qwen2_5_vl": Small(
        Qwen25VL,
        lambda text, ids: Qwen2_5_VLConfig(
            vision_config={
                "depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
                "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 56,
                "fullatt_block_indexes": [1],
            },
            text_config={**text, "rope_parameters": MROPE}, **_qwen(ids),
        ),
        lambda: Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28 * 2, "longest_edge": 28 * 28 * 12}),
        QWEN,
    ),
    "qwen3_vl": Small(
        Qwen3VL,
        lambda text, ids: Qwen3VLConfig(
            vision_config={
                "depth": 3, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
                "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0, 1],
            },
            text_config={
                **text, "head_dim": 8,
                "rope_parameters": {**MROPE, "mrope_section": [2, 1, 1], "mrope_interleaved": True},
            },
            **_qwen(ids),
        ),
        lambda: Qwen2VLImageProcessorPil(
            patch_size=16, size={"shortest_edge": 32 * 32 * 2, "longest_edge": 32 * 32 * 12}
        ),
        QWEN,
    ),
    "internvl": Small(
        InternVL,
        lambda text, ids: InternVLConfig(
            vision_config=InternVLVisionConfig(**{**CLIP, "patch_size": [14, 14]}, image_size=[56, 56]),
            text_config=Qwen3Config(**text, head_dim=8), image_token_id=ids["<IMG_CONTEXT>"], image_seq_length=4,
        ),
        lambda: GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4),
        chat("<|im_start|>", "user", "assistant", "\\n", "<|im_end|>\\n", "<IMG_CONTEXT>\\n"),
    ),
    "idefics3": Small(
        Idefics3,
        lambda text, ids: Idefics3Config(
            vision_config={**CLIP, "image_size": 56}, text_config=LlamaConfig(**text), image_token_id=ids[IMAGE],
            scale_factor=2, tie_word_embeddings=False,
        ),
        lambda: Idefics3ImageProcessorPil(size={"longest_edge": 168}, max_image_size={"longest_edge": 56}),
        UTTERANCES,
    ),
    "smolvlm": Small(
        Idefics3,
        lambda text, ids: SmolVLMConfig(
            vision_config={**CLIP, "image_size": 56}, text_config=LlamaConfig(**text), image_token_id=ids[IMAGE],
            scale_factor=2, tie_word_embeddings=False,
        ),
        lambda: SmolVLMImageProcessorPil(size={"longest_edge": 168}, max_image_size={"longest_edge": 56}),
        UTTERANCES,
    ),
    "gemma3": Small(
        Gemma3,
        lambda text, ids: Gemma3Config(
            vision_config=SiglipVisionConfig(**CLIP, image_size=56, vision_use_head=False),
            text_config=Gemma3TextConfig(**text, head_dim=8, query_pre_attn_scalar=8, sliding_window=64),
            mm_tokens_per_image=4, image_token_index=ids["<image_soft_token>"],
        ),
        lambda: Gemma3ImageProcessorPil(size=SQUARE),
        chat("<start_of_turn>", "user", "model", "\\n", "<end_of_turn>\\n", "<start_of_image>"),
    ),
    "qwen_vl": Small(
        QwenVL,
        lambda text, ids: QwenVLConfig(
            vision_config={**CLIP, "image_size": 56}, text_config=text, image_token_index=ids["<imgpad>"],
            image_seq_length=4,
        ),
        lambda: CLIPImageProcessorPil(size=SQUARE, do_center_crop=False),
        chat("<|im_start|>", "user", "assistant", "\\n", "<|im_end|>\\n", "<img><imgpad></img>\\n"),
    ),
    "minigpt_v2": Small(
        MiniGPTv2,
        lambda text, ids: MiniGPTv2Config(
            vision_config={**CLIP, "image_size": 56, "initializer_range": 0.02}, text_config=text,
            image_token_index=ids[IMAGE], image_seq_length=4,
        ),
        lambda: CLIPImageProcessorPil(size=SQUARE, do_center_crop=False),
        chat("", "[INST]", "[/INST]", " ", " ", "<Img><image></Img> "),
    ),
}  # fmt: skip


def small(name: str, seed: int = 0) -> Backbone:
    """The small model of a family, in float32."""
    of, words = SMALL[name], tokenizer()
    model = made(name, seed)
    prompt = prompt_for("chatml", words, placeholder=of.family.placeholder, tags=of.family.image_tags)
    return Backbone(model, words, of.family(model.config, of.processor(), words), prompt, name)


def made(name: str, seed: int = 0) -> Any:
    """The model alone."""
    of, words = SMALL[name], tokenizer()
    config = of.config(text(len(words)), words.get_vocab())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = AutoModelForImageTextToText.from_config(config).eval()
        for path, parameter in model.named_parameters():  # some start at zero, as line ends, and would show nothing
            wide = 0.2 if of.family.language_model in path or "lm_head" in path else 0.02  # answers of many kinds
            parameter.data = parameter.data + wide * torch.randn_like(parameter)
        model.lm_head.weight.data[words.all_special_ids] = 0  # answers are letters, and end when there are enough
    return model


def write(name: str, folder: Path) -> Path:
    """A checkpoint folder of the small model as hubs have them: config, weights, tokenizer with template, processor."""
    words = tokenizer()
    words.chat_template = SMALL[name].template
    made(name).save_pretrained(folder)
    words.save_pretrained(folder)
    SMALL[name].processor().save_pretrained(folder)
    return folder
