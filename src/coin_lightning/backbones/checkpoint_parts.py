"""Whether the parts of a checkpoint fit each other: config, tokenizer, image preprocessing, tower.

They come in files of their own, and none of their libraries compares them. All is checked before any weight is read,
also where none will be (`data verify`).
"""

from typing import Any

from PIL import Image
from transformers import AutoConfig

from coin_lightning.backbones.expansions import expanded
from coin_lightning.backbones.family import Family
from coin_lightning.backbones.hub_files import read_config, read_pretrained
from coin_lightning.backbones.plain_text import PlainTextTokenizer
from coin_lightning.backbones.prompts import Prompt, Turn
from coin_lightning.backbones.tower import AGAIN, check_pixels
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import AssetError, ConfigError

CONVERT = (
    "Its published files need a conversion first: python -m coin_lightning convert {} SRC OUT; "
    "then give backbone.path=OUT"
)
PROBE = Image.new("RGB", (40, 28))
"""Neither square nor of any tower's size."""


def family_config(source: str, family: type[Family]) -> Any:
    """The config of a folder or hub name.

    Raises:
        AssetError: it cannot be read, or is of another kind of model.
    """
    stored = read_config(source)
    model_type = stored.get("model_type")
    missing = [key for key in ("text_config", "vision_config") if not isinstance(stored.get(key), dict)]
    if missing and any(key.startswith("mm_") for key in stored):
        raise AssetError(
            f"{source}: config.json (model_type={model_type!r}, mm_vision_tower={stored.get('mm_vision_tower')!r}) is "
            "in the format of the original LLaVA code, which holds no tower. Give its conversion to Hugging Face "
            "format, e.g. backbone.path=llava-hf/llava-1.5-7b-hf, or put the model together from its parts: "
            "protocol.starting_weights=pretrained with backbone.pretrained.{language_model,vision_tower,projector}"
        )
    if model_type not in family.model_types and family.conversion is not None:
        raise AssetError(
            f"{source}: config.json has model_type={model_type!r}, must be {family.model_types[0]!r}. "
            f"{CONVERT.format(family.conversion)}"
        )
    if model_type not in family.model_types:
        there = ", ".join(sorted(file.stem for file in (conf_dir() / "backbone").glob("[!_]*.yaml")))
        raise AssetError(
            f"{source}: config.json has model_type={model_type!r}, must be "
            f"{' or '.join(map(repr, family.model_types))}: other families place "
            f"their images otherwise. Choose the backbone of its family; there are {there}"
        )
    if family.flat_text_config and "hidden_size" in stored:  # what says nothing would be filled up with defaults
        missing = [key for key in missing if key != "text_config"]
    if missing:
        raise AssetError(f"{source}: config.json has no {missing[0]}; fetch the checkpoint again")
    return read_pretrained(AutoConfig, source)


def check_parts(source: str, family: Family, tokenizer: Any, frame: str, max_length: int) -> None:
    """Refuse parts that do not fit each other.

    Args:
        source: where they come from, for the messages.
        family: with the model's config and the image preprocessing.
        frame: `backbone.image_frame`.
        max_length: `backbone.max_length`.

    Raises:
        AssetError: two parts disagree; both values are named.
        ConfigError: `max_length` is beyond the language model's context.
    """
    _check_tokens(source, family, tokenizer)
    _check_context(source, family.config.text_config, max_length)
    _check_processor(source, family, frame)
    family.check_tower(source)


def check_prompt(family: Family, prompt: Prompt, tokenizer: Any) -> None:
    """Refuse a prompt that the model cannot read.

    Raises:
        ConfigError: it shows an image otherwise than the family was trained, or a marker has no row in the embedding.
    """
    page = prompt.render([Turn("", "", images=1)])
    _check_tags(family, prompt, page.text)
    (text, _, plain), _ = expanded(page, family.placeholder, [family.expanded(family.grids([PROBE.size])[0])])
    last, rows = max(PlainTextTokenizer(tokenizer).encode(text, plain).ids), family.config.text_config.vocab_size
    if last >= rows:
        raise ConfigError(
            f"backbone.prompt={prompt.name} writes {tokenizer.convert_ids_to_tokens(last)!r}, which is token {last}, "
            f"but config.json has only text_config.vocab_size={rows} rows in the embedding; choose another prompt, or "
            "give the tokenizer that belongs to the weights"
        )


def _check_tags(family: Family, prompt: Prompt, text: str) -> None:
    if family.placeholder.join(family.image_tags) in text:
        return
    before, placeholder, after = text.partition(family.placeholder)
    raise ConfigError(
        f"backbone.prompt={prompt.name} writes an image as {before[-20:] + placeholder + after[:20]!r}, but "
        f"{type(family).__name__} was trained with images between {family.image_tags[0]} and {family.image_tags[1]}: "
        "give the template of the whole model (chat_template.json or chat_template.jinja beside its config.json), or "
        "set backbone.prompt=chatml"
    )


def _check_processor(source: str, family: Family, frame: str) -> None:
    pixels = family.pixels(PROBE, frame)["pixel_values"]
    if family.alike:
        check_pixels(pixels[0], family.config, frame, source)
        return
    made, taken = tuple(pixels.shape), family.pixel_shape(family.grids([PROBE.size])[0])
    if made != taken:
        raise AssetError(
            f"{source}: preprocessor_config.json makes {made} of an image of {PROBE.width} x {PROBE.height} pixels, "
            f"but by vision_config in config.json the tower takes {taken} of it; they are of different checkpoints: "
            f"give the preprocessor that belongs to the weights (or correct backbone.image_processor), {AGAIN}"
        )


def _check_tokens(source: str, family: Family, tokenizer: Any) -> None:
    config = family.config
    image, rows = config.image_token_id, config.text_config.vocab_size
    words = tokenizer.get_vocab()
    absent = [word for word in (family.placeholder, *family.image_tags) if word and word not in words]
    if absent:
        raise AssetError(
            f"{source}: the tokenizer has no {absent[0]} token; this is no {type(family).__name__} checkpoint "
            "in Hugging Face format"
        )
    if family.placeholder_is_image_token and image != words[family.placeholder]:
        raise AssetError(
            f"{source}: config.json has {family.image_token_key}={image}, but its tokenizer gives {family.placeholder} "
            f"the id {words[family.placeholder]}: images would have no influence. Set {family.image_token_key} to "
            f"{words[family.placeholder]}, {AGAIN}"
        )
    beyond = _beyond_the_rows(family, tokenizer, rows)
    if beyond:
        last, word = max((words[word], word) for word in beyond)
        raise AssetError(
            f"{source}: its tokenizer gives {word!r} the id {last}, but config.json has only "
            f"text_config.vocab_size={rows} rows in the embedding; tokenizer and config are of different checkpoints: "
            f"give the tokenizer that belongs to the weights, {AGAIN}"
        )


def _beyond_the_rows(family: Family, tokenizer: Any, rows: int) -> list[str]:
    """Words without a row in the embedding that would need one: what a text can become, and what the checkpoint itself
    puts in.

    Other markers are never made of a text, only written by a prompt (`check_prompt`): InternVL3 has one for videos.
    """
    unused = set(PlainTextTokenizer(tokenizer).markers)
    unused -= {family.image_token, tokenizer.bos_token, tokenizer.eos_token}
    return [word for word, at in tokenizer.get_vocab().items() if at >= rows and word not in unused]


def _check_context(source: str, text: Any, max_length: int) -> None:
    """Positions that a rope scaling stretches are left to those who ask for them."""
    positions = getattr(text, "max_position_embeddings", None)
    scaled = (getattr(text, "rope_parameters", None) or {}).get("rope_type", "default") != "default"
    if positions is not None and not scaled and max_length > positions:
        raise ConfigError(
            f"backbone.max_length={max_length} is more than text_config.max_position_embeddings={positions} in "
            f"config.json of {source}; set backbone.max_length={positions} or less"
        )
