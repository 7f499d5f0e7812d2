"""Files of weights: what one is that cannot be read, told from its first bytes."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from coin_lightning.errors import CoinLightningError

FOREIGN = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself (`git lfs pull` gets that)"),
    (b"<", "it is a web page (HTML or XML), not the file itself"),
    (b"PK\x03\x04", "it is a PyTorch file (zip), not safetensors"),
    (b"\x80", "it is a pickle (an old PyTorch file), not safetensors"),
)
"""First bytes -> what the file is and what to do about it."""
TORCH = (b"PK\x03\x04", b"\x80")
"""First bytes of PyTorch's own files."""


def foreign(file: Path, formats: tuple[bytes, ...] = ()) -> str | None:
    """What a file of weights obviously is instead; None: the first bytes do not tell.

    Args:
        file: an existing file.
        formats: first bytes that are welcome here.
    """
    with file.open("rb") as stream:
        head = stream.read(64).lstrip()
    if not head:
        return "it is empty"
    return next((text for start, text in FOREIGN if head.startswith(start) and start not in formats), None)


def write_safetensors(tensors: Mapping[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors, readable for whom other new files are readable for (see `share`)."""
    save_file(dict(tensors), file, metadata=metadata)
    share(file)


def share(*files: Path) -> None:
    """Give files of weights the rights that any new file gets there: safetensors lets nobody but the owner read them,
    so that a colleague on the same cluster could open a run's page and not its adapter."""
    for file in files:
        probe = file.with_name(f".{file.name}.rights")
        probe.touch()
        try:
            file.chmod(probe.stat().st_mode)
        finally:
            probe.unlink()


def read_safetensors(file: Path, what: str, remedy: str, kind: type[CoinLightningError]) -> dict[str, Tensor]:
    """Tensors by name, on the CPU.

    Args:
        file: a safetensors file.
        what: it holds, for the message.
        remedy: what the message tells to do.
        kind: class of the error.

    Raises:
        CoinLightningError: of class `kind`; the file is missing, empty, cut off or something else.
    """
    try:
        return load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        reason = (foreign(file) if file.is_file() else None) or error
        raise kind(f"{file}: {what} cannot be read: {reason}; {remedy}") from error
