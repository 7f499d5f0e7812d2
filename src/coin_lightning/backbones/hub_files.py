"""Reading what Hugging Face's loaders read, with errors that name the config key and the remedy."""

import pickle
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from coin_lightning.errors import AssetError

CHECKPOINT = (
    "Give a folder with a LLaVA checkpoint in Hugging Face format (config.json, safetensors, tokenizer, preprocessor), "
    "or a hub name that this machine can reach or has in its cache."
)


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
    folder = Path(source).is_dir()  # of which nothing is then sought on the hub
    try:
        if folder and not (Path(source) / "config.json").is_file():
            raise OSError("the folder has no config.json")
        return loader.from_pretrained(source, trust_remote_code=False, local_files_only=folder, **options)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AssetError(f"{key}={source!r} cannot be loaded by {loader.__name__}: {reason}\n{remedy}") from error
