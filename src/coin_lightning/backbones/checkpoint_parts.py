"""Whether the parts of a checkpoint fit each other: config, tokenizer, image preprocessing, tower.

They come in files of their own, and none of their libraries compares them. All is checked before any weight is read,
also where none will be (`data verify`).
"""

from typing import Any

from PIL import Image
from transformers import AutoConfig

from coin_lightning.backbones.families.llava import Llava
from coin_lightning.backbones.family import Family
from coin_lightning.backbones.hub_files import read_config, read_pretrained
from coin_lightning.backbones.images import framed
from coin_lightning.backbones.tower import AGAIN, check_pixels, feature_shape
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import AssetError, ConfigError

PROBE = Image.new("RGB", (40, 28))
"""Neither square nor of any tower's size."""


def family_config(source: str, family: type[Family]) -> Any:
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
    if model_type not in family.model_types:
        there = ", ".join(sorted(file.stem for file in (conf_dir() / "backbone").glob("[!_]*.yaml")))
        raise AssetError(
            f"{source}: config.json has model_type={model_type!r}, must be "
            f"{' or '.join(map(repr, family.model_types))}: other families place "
            f"their images otherwise. Choose the backbone of its family; there are {there}"
        )
    if nested:
        raise AssetError(f"{source}: config.json has no {nested[0]}; fetch the checkpoint again")
    return read_pretrained(AutoConfig, source)


def check_parts(
    source: str, family: type[Family], config: Any, tokenizer: Any, processor: Any, frame: str, max_length: int
) -> None:
    """Refuse parts that do not fit each other.

    Args:
        source: where they come from, for the messages.
        config: of the model.
        processor: the image preprocessing.
        frame: `backbone.image_frame`.
        max_length: `backbone.max_length`.

    Raises:
        AssetError: two parts disagree; both values are named.
        ConfigError: `max_length` is beyond the language model's context.
    """
    _check_tokens(source, family, config, tokenizer)
    _check_context(source, config.text_config, max_length)
    if issubclass(family, Llava):
        check_pixels(framed(PROBE, processor, frame), config, frame, source)
        _check_features(source, config)


def _check_tokens(source: str, family: type[Family], config: Any, tokenizer: Any) -> None:
    image, rows = config.image_token_id, config.text_config.vocab_size
    words = tokenizer.get_vocab()
    if family.placeholder not in words:
        raise AssetError(
            f"{source}: the tokenizer has no {family.placeholder} token; this is no {family.__name__} checkpoint in "
            "Hugging Face format"
        )
    if family.placeholder_is_image_token and image != words[family.placeholder]:
        raise AssetError(
            f"{source}: config.json has {family.image_token_key}={image}, but its tokenizer gives {family.placeholder} "
            f"the id {words[family.placeholder]}: images would have no influence. Set {family.image_token_key} to "
            f"{words[family.placeholder]}, {AGAIN}"
        )
    last, word = max((id_, word) for word, id_ in words.items())
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
