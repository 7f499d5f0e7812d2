"""Weights as their authors published them: names and shapes of all files first, values only when they are asked for."""

import json
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from coin_lightning.errors import AssetError
from coin_lightning.json_files import BROKEN
from coin_lightning.weight_files import TORCH, foreign

KINDS = (("model.safetensors", "*.safetensors"), ("pytorch_model.bin", "pytorch_model*.bin"))
"""Name of a whole model in one file -> the files of one in several; with `.index.json` behind the name its index."""
AGAIN = "fetch it again"
META = torch.device("meta")


class WeightFile(Mapping[str, Tensor]):
    """Tensors by name; `file[name]` reads one, `shapes[name]` is an empty stand-in on torch's `meta` device.

    Args:
        path: safetensors, or a PyTorch file, which torch's restricted reader must be able to read: tensors and plain
            containers; nothing in it is run. It is mapped into memory where its format allows that.
        inside: key of the dictionary that holds the tensors, where others lie beside it.

    Raises:
        AssetError: the file is missing, cut off, no such file, or holds no tensors.
    """

    def __init__(self, path: Path, inside: str | None = None) -> None:
        self.path, self.inside = path, inside
        try:
            with path.open("rb") as stream:
                self._pickled = stream.read(8).startswith(TORCH)
            self.shapes: dict[str, Tensor] = self._stand_ins()
        except OSError as error:
            raise AssetError(f"{path}: weights cannot be read: {error}; {AGAIN}") from error
        if not self.shapes:
            raise AssetError(f"{path}: holds no tensors; {AGAIN}")

    def _stand_ins(self) -> dict[str, Tensor]:
        if self._pickled:
            return {name: tensor.to(META) for name, tensor in self._stored.items()}
        try:
            with safe_open(self.path, "pt") as opened:
                views = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  (it is no mapping)
                return {name: _empty(view) for name, view in views.items()}
        except SafetensorError as error:
            raise self._unreadable(error) from error

    @cached_property
    def _stored(self) -> dict[str, Tensor]:
        """The tensors of a PyTorch file, still on the disk where they can be mapped."""
        found = self.content
        if self.inside is not None:
            found = found.get(self.inside) if isinstance(found, dict) else None
        if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
            where = "" if self.inside is None else f" under {self.inside!r}"
            raise AssetError(f"{self.path}: must hold named tensors{where}, found {type(found).__name__}; {AGAIN}")
        return found

    @cached_property
    def content(self) -> Any:
        """All that a PyTorch file holds, tensors and what else there is."""
        try:
            try:
                return torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:  # its older format cannot be mapped, and is read whole
                return torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # the restricted reader fails in many ways on a cut off or hostile file
            raise self._unreadable(error) from error

    def forget(self) -> None:
        """Let go of what has been mapped or read; it is mapped again when it is asked for."""
        self.__dict__.pop("_stored", None)
        self.__dict__.pop("content", None)

    def _unreadable(self, error: Exception) -> AssetError:
        reason = foreign(self.path, TORCH) or (str(error).strip() or type(error).__name__).splitlines()[0]
        return AssetError(f"{self.path}: weights cannot be read: {reason}; {AGAIN}")

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        if self._pickled:
            return self._stored[name]
        with safe_open(self.path, "pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _empty(view: Any) -> Tensor:
    kinds = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}
    return torch.empty(view.get_shape(), dtype=kinds.get(view.get_dtype(), torch.int64), device=META)


def model_files(folder: Path) -> list[WeightFile]:
    """All weight files of a checkpoint folder.

    Raises:
        AssetError: there are none, one that the index names is missing or unreadable, or their sizes do not add up to
            what the index says.
    """
    for whole, several in KINDS:
        index = folder / f"{whole}.index.json"
        if index.is_file():
            return _indexed(index)
        if (folder / whole).is_file():
            return [WeightFile(folder / whole)]
        if parts := sorted(folder.glob(several)):
            raise AssetError(
                f"{folder}: there is {parts[0].name}, but no {index.name} that says what belongs to it; {AGAIN}"
            )
    raise AssetError(
        f"{folder}: there are no weights ({' or '.join(name for name, _ in KINDS)}); give the checkpoint's folder"
    )


def _indexed(index: Path) -> list[WeightFile]:
    try:
        content = json.loads(index.read_text())
        names = sorted(set(content["weight_map"].values()))
        total = (content.get("metadata") or {}).get("total_size")
    except (*BROKEN, KeyError, TypeError, AttributeError, OSError) as error:
        raise AssetError(f"{index}: cannot be read ({error!r}); {AGAIN}") from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise AssetError(
            f"{index.parent / missing[0]}: file is missing, as are {len(missing) - 1} others that {index.name} names; "
            f"{AGAIN}"
        )
    files = [WeightFile(index.parent / name) for name in names]
    found = sum(size(tensor) for file in files for tensor in file.shapes.values())
    if isinstance(total, int) and total != found:
        raise AssetError(f"{index.parent}: its weights take {found} bytes, but {index.name} says {total}; {AGAIN}")
    return files


def size(tensor: Tensor) -> int:
    """Bytes of a tensor's values."""
    return math.prod(tensor.shape) * tensor.element_size()
