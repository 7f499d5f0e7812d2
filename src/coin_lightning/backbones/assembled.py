"""A checkpoint that is put together once and kept in the cache."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from coin_lightning.assets import file_sha256
from coin_lightning.errors import AssetError
from coin_lightning.weight_files import share

MARKER = "assembled.json"


def assembled(folder: Path, assemble: Callable[[Path], None]) -> Path:
    """The folder, built by `assemble` when it is missing.

    It is built beside its place and renamed, so that a killed process leaves nothing that looks finished.

    Args:
        folder: where the checkpoint belongs.
        assemble: writes it into the folder it is given, `list_files` last.

    Raises:
        AssetError: it is there but incomplete; the message says what to remove.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".assemble-") as scratch:
            built = Path(scratch) / "model"
            assemble(built)
            try:
                built.rename(folder)
            except OSError:
                if not folder.exists():  # another process may have been quicker, which is fine
                    raise
    _check(folder)
    return folder


def list_files(folder: Path) -> None:
    """Write the sha256 of all files, which say later that each is what it was; let others read the weights."""
    share(*folder.glob("*.safetensors"))
    known = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    (folder / MARKER).write_text(json.dumps(known, indent=1))


def _is_sound(file: Path, known: str | int) -> bool:
    """Whether a file has its sha256; of folders from before there were such, its size."""
    return file.is_file() and known == (file.stat().st_size if isinstance(known, int) else file_sha256(file))


def _check(folder: Path) -> None:
    try:
        known = dict(json.loads((folder / MARKER).read_text()))
    except (OSError, ValueError, TypeError):
        known = {}
    wrong = [name for name, content in known.items() if not _is_sound(folder / name, content)]
    if wrong or not known:
        raise AssetError(
            f"{folder}: assembled model is damaged ({', '.join(wrong) or f'no readable {MARKER}'}); "
            "remove the folder and run again"
        )
