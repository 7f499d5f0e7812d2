"""Reading what Hugging Face's loaders read, with errors that name the config key and the remedy."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedConfig
from transformers.image_utils import SizeDict
from transformers.utils import CHAT_TEMPLATE_FILE, LEGACY_PROCESSOR_CHAT_TEMPLATE_FILE, PROCESSOR_NAME, cached_file

from coin_lightning.backbones.assembled import MARKER
from coin_lightning.errors import AssetError, ConfigError
from coin_lightning.json_files import BROKEN, load_object
from coin_lightning.weight_files import TORCH, foreign

CHECKPOINT = (
    "Give a folder with a checkpoint in Hugging Face format (config.json, safetensors, tokenizer, preprocessor), "
    "or a hub name that this machine can reach or has in its cache."
)
NEEDED = {"AutoTokenizer": "tokenizer.json", "AutoImageProcessor": "preprocessor_config.json"}
"""Loader -> the file that a folder must have for it; others need `config.json`."""
PROCESSOR_FILES = (PROCESSOR_NAME, LEGACY_PROCESSOR_CHAT_TEMPLATE_FILE)
"""Where a chat template may be that no tokenizer reads, in the order of the processor's class."""
PIXEL_LIMITS = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
"""Older names of limits, of which a size has the newer ones; where preprocessor_config.json has both, these win."""
BUFFERS = ("position_ids", "inv_freq", "masked_bias", "attn.bias")
"""Ends of names that old checkpoints carry and that transformers computes."""


def read_pretrained(
    loader: Any, source: str, key: str = "backbone.path", remedy: str = CHECKPOINT, **options: Any
) -> Any:
    """`loader.from_pretrained(source)`; a folder is read as it is, and remote code is never run.

    Args:
        loader: a class of transformers.
        source: folder or hub name.
        key: config key that `source` stands in.
        remedy: what the message says after the reason.

    Raises:
        AssetError: nothing there can be read by this loader.
    """

    def read(**where: Any) -> Any:
        return loader.from_pretrained(source, trust_remote_code=False, **where, **options)

    return _read(read, loader.__name__, source, key, remedy)


def read_config(source: str, key: str = "backbone.path") -> dict[str, Any]:
    """`config.json` as it is written, before defaults fill it up.

    Raises:
        AssetError: it is missing or no JSON object.
    """

    def read(**where: Any) -> Any:
        found = PreTrainedConfig.get_config_dict(source, **where)[0]
        if not isinstance(found, dict):
            raise ValueError("config.json holds no JSON object")
        return found

    found: dict[str, Any] = _read(read, "AutoConfig", source, key, CHECKPOINT)
    return found


def read_tokenizer(source: str) -> Any:
    """The fast tokenizer of a checkpoint, with the chat template of the whole model.

    Many checkpoints have that in a file which only the processor's class reads, and in the tokenizer's files none or
    the language model's own, which knows nothing of images.

    Raises:
        AssetError: nothing there can be read.
    """
    tokenizer = read_pretrained(AutoTokenizer, source, use_fast=True)

    def read(**where: Any) -> Any:
        def find(name: str) -> Any:
            return cached_file(source, name, _raise_exceptions_for_missing_entries=False, **where)

        files = [] if find(CHAT_TEMPLATE_FILE) else [Path(file) for file in map(find, PROCESSOR_FILES) if file]
        templates = [load_object(file).get("chat_template") for file in files]
        return next(filter(None, templates), tokenizer.chat_template)

    tokenizer.chat_template = _read(read, "AutoProcessor", source, "backbone.path", CHECKPOINT)
    return tokenizer


def read_processor(source: str, settings: Mapping[str, Any]) -> Any:
    """The image preprocessing of a checkpoint, with some settings in place of those in preprocessor_config.json.

    Raises:
        AssetError: nothing there can be read.
        ConfigError: a setting would have no effect.
    """
    size = settings.get("size")
    replaced = {limit: None for limit, edge in PIXEL_LIMITS.items() if isinstance(size, Mapping) and edge in size}
    given = {**replaced, **deepcopy(dict(settings))}  # for a processor may write into a size
    processor = read_pretrained(AutoImageProcessor, source, backend="pil", **given)
    for name, value in settings.items():
        if not _is_set(value, getattr(processor, name, None)):
            found = repr(getattr(processor, name)) if hasattr(processor, name) else "no such setting"
            known = sorted(key for key, own in vars(processor).items() if own is not None and not key.startswith("_"))
            raise ConfigError(
                f"backbone.image_processor.{name}={value!r} has no effect: {type(processor).__name__} of {source} has "
                f"{found}. Its settings are {', '.join(known)}; pixels are limited by size.shortest_edge and "
                "size.longest_edge"
            )
    return processor


def _is_set(wanted: Any, found: Any) -> bool:
    """Whether a processor has a setting as it was given: of a size the edges that were named."""
    if isinstance(wanted, Mapping) and isinstance(found, Iterable):
        sizes = dict(found)
        return all(sizes.get(key) == value for key, value in wanted.items())
    if isinstance(found, SizeDict):  # given as one number for all edges, or as height and width
        return set(dict(found).values()) == set(wanted if isinstance(wanted, Iterable) else [wanted])
    return bool(found == (tuple(wanted) if isinstance(found, tuple) else wanted))


def _read(read: Callable[..., Any], name: str, source: str, key: str, remedy: str) -> Any:
    folder = Path(source).is_dir()  # of which nothing is then sought on the hub
    try:
        if folder and not (Path(source) / "config.json").is_file():
            raise OSError
        return read(local_files_only=folder)
    except Exception as error:  # a damaged file ends the libraries in many ways, some of them a bare Exception
        missing = Path(source) / NEEDED.get(name, "config.json")
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = f"{missing.name} is missing there" if folder and not missing.is_file() else reason + _damage(source)
        raise AssetError(f"{key}={source!r} cannot be loaded by {name}: {reason}\n{_remedy(source, remedy)}") from error


def _remedy(source: str, remedy: str) -> str:
    """What to do about a folder that cannot be read: one that we made ourselves is made again."""
    if (Path(source) / MARKER).is_file():
        return f"Remove the folder {source} and run again: it is then put together anew."
    return remedy


def _damage(source: str) -> str:
    """Files of a folder that are obviously not what their names say, as text to append."""
    files = [file for kind in ("*.json", "*.safetensors", "*.bin") for file in sorted(Path(source).glob(kind))]
    found = [(file.name, foreign(file, TORCH if file.suffix == ".bin" else ())) for file in files if file.is_file()]
    return "".join(f"; {name}: {what}" for name, what in found if what)


def check_weight_files(source: str, needed: bool) -> None:
    """Whether all weight files of a checkpoint's folder are there and whole; only their headers are read.

    Args:
        source: folder, or a hub name, of which nothing is checked.
        needed: refuse a folder without any weights, too.

    Raises:
        AssetError: a file is missing or damaged.
    """
    folder = Path(source)
    if not folder.is_dir() or not (needed or any(folder.glob("*.safetensors*"))):
        return
    index = folder / "model.safetensors.index.json"
    try:
        named = json.loads(index.read_text())["weight_map"].values() if index.is_file() else ["model.safetensors"]
        for name in sorted(set(named)):
            with safe_open(folder / name, "pt"):
                pass
    except (OSError, *BROKEN, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = str(error).splitlines()[0] + _damage(source)
        raise AssetError(
            f"backbone.path={source!r}: weights cannot be read: {reason}\n{_remedy(source, CHECKPOINT)}"
        ) from error


def read_whole(
    loader: Any,
    source: str,
    key: str = "backbone.path",
    replaced: str | None = None,
    unused: Sequence[str] = (),
    remedy: str = CHECKPOINT,
    **options: Any,
) -> Any:
    """A model of which every weight is in the files, and nothing else of a model.

    Args:
        loader, source, key, remedy, options: as for `read_pretrained`.
        replaced: part of the names of weights that the caller brings itself.
        unused: beginnings of names that the files may hold beside the model.

    Raises:
        AssetError: nothing there can be read, or weights are missing (transformers would draw them at random), have
            another shape than config.json says, or have no place in the model.
    """
    model, report = read_pretrained(
        loader, source, key, remedy, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    kept = [name for name in report["unexpected_keys"] if not name.startswith(tuple(unused))]
    shapes = [f"{name} {list(stored)} instead of {list(own)}" for name, stored, own in report["mismatched_keys"]]
    problems = {
        "lacks {} weights of a " + loader.__name__: list(report["missing_keys"]),
        "{} weights have another shape than config.json says": shapes,
        "holds {} weights that config.json has no place for": [name for name in kept if not name.endswith(BUFFERS)],
    }
    for problem, names in problems.items():
        found = sorted(name for name in names if replaced is None or replaced not in name)
        if found:
            raise AssetError(
                f"{key}={source!r}: {problem.format(len(found))}, e.g. {found[0]}; config.json and weights are not of "
                "one model, or a file is missing: fetch the checkpoint again, or give the right one"
            )
    return model
