"""The projector's weights on their own: LLaVA's published `mm_projector.bin`, or a safetensors file."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from coin_lightning.errors import AssetError

PUBLISHED = {"mm_projector.0.": "linear_1.", "mm_projector.2.": "linear_2."}
"""LLaVA's names of the two linear layers (`mlp2x_gelu`; the activation between them is number 1) -> transformers'."""


def read_projector(file: Path) -> dict[str, Tensor]:
    """Weights of a projector by transformers' names `linear_1.weight`, `linear_1.bias`, ...

    Args:
        file: safetensors, or the `mm_projector.bin` that LLaVA publishes. That is a pickle; it is read by torch's
            restricted reader, which admits tensors and plain containers and runs nothing.

    Raises:
        AssetError: the file is missing, cannot be read, or holds anything but named tensors.
    """
    if not file.is_file():
        raise AssetError(
            f"{file}: projector weights are missing; give an existing safetensors file or LLaVA's mm_projector.bin"
        )
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True) if file.suffix == ".bin" else load_file(file)
    except Exception as error:  # the restricted reader fails in many ways on a cut off or hostile file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AssetError(f"{file}: projector weights cannot be read: {reason}; fetch the file again") from error
    if not isinstance(stored, dict) or not all(isinstance(tensor, Tensor) for tensor in stored.values()):
        raise AssetError(f"{file}: must hold named tensors, found {type(stored).__name__}; fetch the file again")
    return {_name(str(name)): tensor for name, tensor in stored.items()}


def _name(stored: str) -> str:
    name = stored.removeprefix("model.")
    for published, ours in PUBLISHED.items():
        if name.startswith(published):
            return ours + name.removeprefix(published)
    return stored


def load_projector(model: Any, file: Path) -> None:
    """Replace the projector's weights (`linear_1`, `linear_2`) by those of a file (see `read_projector`).

    Raises:
        AssetError: the file cannot be read, or names and shapes do not fit.
    """
    weights = read_projector(file)
    try:
        model.model.multi_modal_projector.load_state_dict(weights)
    except RuntimeError as error:
        raise AssetError(f"{file}: projector weights do not fit the model: {error}") from error
