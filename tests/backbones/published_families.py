"""Small checkpoints as the hub has them, where that is not what transformers writes today."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_families import SMALL, write
from transformers import AutoTokenizer

TOOLS = (
    "{%- if tools %}{{- '<|im_start|>system\\nYou may call functions.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""A template of the language model alone: texts and tools, and nothing of images."""
QWEN2_5_VL = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A template of the form that Qwen2.5-VL's `chat_template.json` has."""
MIN_PIXELS, MAX_PIXELS = 3136, 12845056


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def change(file: Path, by: Callable[[dict[str, Any]], object]) -> None:
    data = read(file) if file.exists() else {}
    by(data)
    file.write_text(json.dumps(data, indent=2))


def qwen2_5_vl(folder: Path) -> Path:
    """As `Qwen/Qwen2.5-VL-3B-Instruct`: the language model's settings at the top of config.json, limits of pixels
    without a size, the template with images in a file of its own and one without them in tokenizer_config.json."""
    write("qwen2_5_vl", folder)
    change(folder / "config.json", _flat)
    change(folder / "preprocessor_config.json", _pixel_limits)
    split_template(folder, QWEN2_5_VL)
    return folder


def older(name: str, folder: Path) -> Path:
    """The checkpoint of a family with its template where processors had theirs before `chat_template.jinja`."""
    write(name, folder)
    split_template(folder, SMALL[name].template)
    return folder


def split_template(folder: Path, template: str) -> None:
    """The template for images in the processor's legacy file, and one without them in the tokenizer's."""
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    change(folder / "chat_template.json", lambda data: data.update(chat_template=template))
    change(folder / "tokenizer_config.json", lambda data: data.update(chat_template=TOOLS))


def _flat(config: dict[str, Any]) -> None:
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    for key in ("layer_types", "model_type", "dtype", "sliding_window"):
        text.pop(key, None)
    config.update(text)
    config.update(
        rope_theta=rope["rope_theta"], rope_scaling={"type": "mrope", "mrope_section": rope["mrope_section"]},
        torch_dtype=config.pop("dtype"), sliding_window=32768, max_window_layers=70, vision_token_id=9,
    )  # fmt: skip
    config.pop("tie_word_embeddings")
    vision = config["vision_config"]
    for key in ("rope_parameters", "model_type", "initializer_range"):
        vision.pop(key)
    vision.update(in_chans=vision.pop("in_channels"), spatial_patch_size=vision["patch_size"])


def _pixel_limits(processor: dict[str, Any]) -> None:
    processor.pop("size")
    processor.update(min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS, processor_class="Qwen2_5_VLProcessor")


def internvl3(folder: Path) -> Path:
    """As `OpenGVLab/InternVL3-1B-hf`: the tokenizer knows `<video>` as one more token than the embedding has rows."""
    write("internvl", folder)
    words = AutoTokenizer.from_pretrained(folder)
    words.add_special_tokens({"additional_special_tokens": ["<video>"]}, replace_extra_special_tokens=False)
    words.save_pretrained(folder)
    return folder


PUBLISHED = {"qwen2_5_vl": qwen2_5_vl, "internvl": internvl3}
"""Family -> what writes its checkpoint into a folder, and gives that back."""
