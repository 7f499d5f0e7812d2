"""The projector's weights on their own: LLaVA's published `mm_projector.bin`, or a safetensors file."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from coin_lightning.errors import AssetError
from coin_lightning.weight_files import TORCH, read_safetensors

REMEDY = "fetch the file again: safetensors, or a PyTorch file as LLaVA's mm_projector.bin"
PUBLISHED = {"mm_projector.0.": "linear_1.", "mm_projector.2.": "linear_2."}
"""LLaVA's names of the two linear layers (`mlp2x_gelu`; the activation between them is number 1) -> transformers'."""


def read_projector(file: Path) -> dict[str, Tensor]:
    """Weights of a projector by transformers' names `linear_1.weight`, `linear_1.bias`, ...

    Args:
        file: safetensors, or a PyTorch file as the `mm_projector.bin` that LLaVA publishes; content decides, not name.
            The latter is a pickle; it is read by torch's restricted reader, which admits tensors and plain containers
            and runs nothing.

    Raises:
        AssetError: the file is missing, cannot be read, or holds anything but named tensors.
    """
    if not file.is_file():
        raise AssetError(
            f"{file}: projector weights are missing; give an existing safetensors file or LLaVA's mm_projector.bin"
        )
    with file.open("rb") as stream:
        pickled = stream.read(8).startswith(TORCH)
    found = _unpickled(file) if pickled else read_safetensors(file, "projector weights", REMEDY, AssetError)
    return {_name(str(name)): tensor for name, tensor in found.items()}


def _unpickled(file: Path) -> dict[str, Tensor]:
    try:
        with file.open("rb") as stream:  # by its name alone torch would choose another reader
            stored = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted reader fails in many ways on a cut off or hostile file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AssetError(f"{file}: projector weights cannot be read: {reason}; {REMEDY}") from error
    if not isinstance(stored, dict) or not all(isinstance(tensor, Tensor) for tensor in stored.values()):
        raise AssetError(f"{file}: must hold named tensors, found {type(stored).__name__}; fetch the file again")
    return stored


def _name(stored: str) -> str:
    name = stored.removeprefix("model.")
    for published, ours in PUBLISHED.items():
        if name.startswith(published):
            return ours + name.removeprefix(published)
    return stored


def check_projector(config: Any, file: Path) -> None:
    """Refuse a file that does not fit the projector of this LLaVA config, before any other weight is read.

    Raises:
        AssetError: the file cannot be read, or names and shapes do not fit.
    """
    with torch.device("meta"):
        projector = LlavaMultiModalProjector(config)
    _put(projector, file)


def load_projector(model: Any, file: Path) -> None:
    """Replace the projector's weights (`linear_1`, `linear_2`) by those of a file (see `read_projector`).

    Raises:
        AssetError: the file cannot be read, or names and shapes do not fit.
    """
    _put(model.model.multi_modal_projector, file)


def _put(projector: nn.Module, file: Path) -> None:
    meta = next(projector.parameters()).is_meta
    try:
        projector.load_state_dict(read_projector(file), assign=meta)
    except RuntimeError as error:
        raise AssetError(
            f"{file}: projector weights do not fit the model: {error}\nGive the projector that was trained for this "
            "language model and this vision tower (backbone.projector or backbone.pretrained.projector)"
        ) from error
