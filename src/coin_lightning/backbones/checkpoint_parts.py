"""Whether the parts of a checkpoint fit each other: config, tokenizer, image preprocessing, tower.

They come in files of their own, and none of their libraries compares them. All is checked before any weight is read,
also where none will be (`data verify`).
"""

from typing import Any

from PIL import Image
from transformers import LlavaConfig

from coin_lightning.backbones.hub_files import read_config, read_pretrained
from coin_lightning.backbones.images import framed
from coin_lightning.backbones.prompts import IMAGE
from coin_lightning.backbones.tower import AGAIN, check_pixels, feature_shape
from coin_lightning.errors import AssetError, ConfigError

PROBE = Image.new("RGB", (40, 28))
"""Neither square nor of any tower's size."""


def llava_config(source: str) -> LlavaConfig:
    """The config of a folder or hub name.

    Raises:
        AssetError: it cannot be read, or is of another kind of model.
    """
    stored = read_config(source)
    model_type = stored.get("model_type")
    nested = [key for key in ("text_config", "vision_config") if not isinstance(stored.get(key), dict)]
    if nested and any(key.startswith("mm_") for key in stored):
        raise AssetError(
            f"{source}: config.json (model_type={model_type!r}, mm_vision_tower={stored.get('mm_vision_tower')!r}) is "
            "in the format of the original LLaVA code, which holds no tower. Give its conversion to Hugging Face "
            "format, e.g. backbone.path=llava-hf/llava-1.5-7b-hf, or put the model together from its parts: "
            "protocol.starting_weights=pretrained with backbone.pretrained.{language_model,vision_tower,projector}"
        )
    if model_type != LlavaConfig.model_type:
        raise AssetError(
            f"{source}: config.json has model_type={model_type!r}, must be {LlavaConfig.model_type!r}: other families "
            "place their images otherwise. Give a LLaVA-1.5 checkpoint in Hugging Face format"
        )
    if nested:
        raise AssetError(f"{source}: config.json has no {nested[0]}; fetch the checkpoint again")
    config: LlavaConfig = read_pretrained(LlavaConfig, source)
    return config


def check_parts(source: str, config: Any, tokenizer: Any, processor: Any, frame: str, max_length: int) -> None:
    """Refuse parts that do not fit each other.

    Args:
        source: where they come from, for the messages.
        config: of the LLaVA.
        processor: the image preprocessing.
        frame: `backbone.image_frame`.
        max_length: `backbone.max_length`.

    Raises:
        AssetError: two parts disagree; both values are named.
        ConfigError: `max_length` is beyond the language model's context.
    """
    _check_tokens(source, config, tokenizer)
    _check_context(source, config.text_config, max_length)
    check_pixels(framed(PROBE, processor, frame), config, frame, source)
    _check_features(source, config)


def _check_tokens(source: str, config: Any, tokenizer: Any) -> None:
    image, rows = tokenizer.convert_tokens_to_ids(IMAGE), config.text_config.vocab_size
    if image is None or image == tokenizer.unk_token_id:
        raise AssetError(
            f"{source}: the tokenizer has no {IMAGE} token; this is no LLaVA checkpoint in Hugging Face format"
        )
    if image != config.image_token_index:
        raise AssetError(
            f"{source}: config.json has image_token_index={config.image_token_index}, but its tokenizer gives {IMAGE} "
            f"the id {image}: images would have no influence. Set image_token_index to {image}, {AGAIN}"
        )
    last, word = max((id_, word) for word, id_ in tokenizer.get_vocab().items())
    if last >= rows:
        raise AssetError(
            f"{source}: its tokenizer gives {word!r} the id {last}, but config.json has only "
            f"text_config.vocab_size={rows} rows in the embedding; tokenizer and config are of different checkpoints: "
            f"give the tokenizer that belongs to the weights, {AGAIN}"
        )


def _check_context(source: str, text: Any, max_length: int) -> None:
    """Positions that a rope scaling stretches are left to those who ask for them."""
    positions = getattr(text, "max_position_embeddings", None)
    scaled = (getattr(text, "rope_parameters", None) or {}).get("rope_type", "default") != "default"
    if positions is not None and not scaled and max_length > positions:
        raise ConfigError(
            f"backbone.max_length={max_length} is more than text_config.max_position_embeddings={positions} in "
            f"config.json of {source}; set backbone.max_length={positions} or less"
        )


def _check_features(source: str, config: Any) -> None:
    tokens, width = feature_shape(config, source)
    strategy = config.vision_feature_select_strategy
    if tokens != config.image_seq_length:
        raise AssetError(
            f"{source}: config.json has image_seq_length={config.image_seq_length} (576 where the key is missing), but "
            f"its tower gives {tokens} tokens per image with vision_feature_select_strategy={strategy!r}. Correct "
            f"the one that is wrong (image_seq_length={tokens}, if it is that), {AGAIN}"
        )
    layers = config.vision_feature_layer
    expected = config.vision_config.hidden_size * (1 if isinstance(layers, int) else len(layers))
    if width != expected:
        raise AssetError(
            f"{source}: its tower gives {width} values per token, but by vision_config.hidden_size in config.json the "
            f"projector takes {expected}; correct vision_config, {AGAIN}"
        )
