"""Which version of a model is asked: the commit of a hub model, or a fingerprint of a folder's files."""

import hashlib
from pathlib import Path

from transformers import AutoConfig

from coin_lightning.errors import JudgeError

EDGE = 1 << 16
"""Bytes that are read at both ends of a weight file: its header with all names and shapes, and its last weights."""
READ = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors")


def model_version(model: str, revision: str | None = None) -> str:
    """Commit of a hub model's configuration, or `folder_fingerprint` of a folder.

    Raises:
        JudgeError: there is no such model here or on the hub.
    """
    if Path(model).is_dir():
        return folder_fingerprint(Path(model))
    if model.startswith(("/", ".", "~")) or model.count("/") > 1:  # no name that a hub could know
        raise JudgeError(f"judge.model={model!r}: there is no such folder")
    try:
        config = AutoConfig.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise JudgeError(
            f"judge.model={model!r} is no folder, and no hub model that this machine can reach or has in its cache: "
            f"{reason}"
        ) from error
    return str(getattr(config, "_commit_hash", None) or "unknown commit")


def folder_fingerprint(folder: Path) -> str:
    """`files <16 hex digits>`: over names, sizes and contents of the model's files, of weights over both ends.

    Raises:
        JudgeError: the folder has no config.json.
    """
    if not (folder / "config.json").is_file():
        raise JudgeError(f"judge.model={str(folder)!r} has no config.json; give a folder in Hugging Face format")
    digest = hashlib.sha256()
    for file in sorted({file for pattern in READ for file in folder.glob(pattern)}):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        digest.update(_edges(file) if file.suffix == ".safetensors" else file.read_bytes())
    return f"files {digest.hexdigest()[:16]}"


def _edges(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(EDGE)
        stream.seek(max(file.stat().st_size - EDGE, 0))
        return head + stream.read(EDGE)
