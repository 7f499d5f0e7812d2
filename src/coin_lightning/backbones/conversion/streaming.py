"""Writing a converted checkpoint part by part: bounded memory, and a conversion that was cut off goes on.

Nothing is read of any weight before names, shapes and the room on the disk have been checked. `config.json` comes last:
until then nothing takes the folder for a checkpoint.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedConfig

from coin_lightning.assets import file_sha256
from coin_lightning.backbones.conversion.weight_sources import META, WeightFile, size
from coin_lightning.errors import AssetError
from coin_lightning.weight_files import write_safetensors
from coin_lightning.whole_files import taking_place_of, write_json

MANIFEST = "conversion.json"
"""In the finished folder: what it was made of."""
PART_BYTES = 2**30
"""Of a file that is written; what is in memory at a time is one and what its largest tensor is made of."""


def same(tensor: Tensor) -> Tensor:
    """The tensor as it is."""
    return tensor


@dataclass(frozen=True)
class Made:
    """How one tensor of the model comes to be.

    Attributes:
        of: names of the published tensors.
        by: makes it of them.
    """

    of: tuple[str, ...]
    by: Callable[..., Tensor] = same


@dataclass(frozen=True)
class Conversion:
    """Everything about one conversion.

    Attributes:
        kind: of model, for the manifest.
        config: of the model that is written.
        files: that are read.
        made: name in the model -> how it comes to be.
        ignored: whether a published name may be left out.
        finish: writes tokenizer and image processor into the folder.
        facts: what the manifest says beside the files.
    """

    kind: str
    config: PreTrainedConfig
    files: Sequence[WeightFile]
    made: Mapping[str, Made]
    finish: Callable[[Path], None]
    ignored: Callable[[str], bool] = lambda name: False
    facts: Mapping[str, Any] = field(default_factory=dict)


def convert(what: Conversion, out: Path, tell: Callable[[str], None], part_bytes: int = PART_BYTES) -> None:
    """Write the checkpoint, or go on with one that was cut off.

    Args:
        what: see there.
        out: folder; new, empty, or of the same conversion.
        tell: gets a line about each part.
        part_bytes: see `PART_BYTES`.

    Raises:
        AssetError: names or shapes do not fit, there is no room, or the folder holds something else; no weight has been
            read.
    """
    stand_ins = _checked(what)
    parts = list(_parts(stand_ins, part_bytes))
    manifest = _begun(what, out, [sorted(part) for part in parts])
    if manifest.get("finished"):
        tell(f"{out}: is converted already")
        return
    _check_room(out, stand_ins, manifest)
    for at, names in enumerate(parts):
        file = out / _name(at, len(parts))
        if not file.is_file():
            tensors = {name: _value(what, name).contiguous().clone() for name in names}
            with taking_place_of(file) as scratch:
                write_safetensors(tensors, scratch, {"format": "pt"})
            del tensors
            for weights in what.files:
                weights.forget()
        tell(f"{file.name}: part {at + 1} of {len(parts)}")
    total = sum(size(tensor) for tensor in stand_ins.values())
    weight_map = {name: _name(at, len(parts)) for at, names in enumerate(parts) for name in names}
    write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    what.finish(out)
    for file in {weights.path for weights in what.files}:
        manifest["sources"][_shown(file)]["sha256"] = file_sha256(file)
    what.config.save_pretrained(out)
    write_json(out / MANIFEST, {**manifest, "finished": True})


def _checked(what: Conversion) -> dict[str, Tensor]:
    """Every tensor of the model as it will be, on torch's `meta` device."""
    with META:
        model: Any = AutoModelForImageTextToText.from_config(what.config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    published = {name: tensor for file in what.files for name, tensor in file.shapes.items()}
    source = what.files[0].path.parent
    wanted = {name for made in what.made.values() for name in made.of}
    if missing := sorted(wanted - published.keys()):
        raise AssetError(f"{source}: {len(missing)} weights are missing, e.g. {missing[0]}; fetch the checkpoint again")
    extra = sorted(name for name in published.keys() - wanted if not what.ignored(name))
    if extra:
        raise AssetError(
            f"{source}: {len(extra)} weights have no place in a {what.kind}, e.g. {extra[0]}; this is another model, "
            "or config.json is not that of these weights"
        )
    found = {}
    for name, shape in expected.items():
        made = what.made[name]
        parts = [published[each] for each in made.of]
        shown = ", ".join(f"{each} {list(part.shape)}" for each, part in zip(made.of, parts, strict=True))
        try:
            found[name] = made.by(*parts)
        except (RuntimeError, ValueError, IndexError) as error:
            raise AssetError(
                f"{source}: {shown} cannot become {name} {list(shape)}: {error}; fetch it again"
            ) from error
        if tuple(found[name].shape) != shape:
            raise AssetError(
                f"{source}: {shown} has another shape than config.json says, which makes {name} {list(shape)}; "
                "config.json and weights are not of one model: fetch the checkpoint again"
            )
    return found


def _parts(tensors: Mapping[str, Tensor], limit: int) -> Iterator[list[str]]:
    names: list[str] = []
    taken = 0
    for name, tensor in tensors.items():
        if names and taken + size(tensor) > limit:
            yield names
            names, taken = [], 0
        names.append(name)
        taken += size(tensor)
    yield names


def _name(at: int, count: int) -> str:
    return f"model-{at + 1:05d}-of-{count:05d}.safetensors"


def _begun(what: Conversion, out: Path, parts: list[list[str]]) -> dict[str, Any]:
    """The manifest of the folder; what an earlier attempt has finished in it stays."""
    sources = {}
    for file in (weights.path for weights in what.files):
        status = file.stat()
        sources[_shown(file)] = {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    told = {"kind": what.kind, **what.facts, "config": _plain(what.config), "parts": parts}
    manifest = {**json.loads(json.dumps(told)), "sources": sources}
    there = out / MANIFEST
    if not there.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise AssetError(f"{out}: is not empty and holds no conversion; give a new folder")
        write_json(there, manifest)
        return manifest
    old: dict[str, Any] = json.loads(there.read_text())
    if any(old.get(key) != value for key, value in manifest.items() if key != "sources"):
        raise AssetError(f"{out}: holds another conversion; give a new folder, or remove this one")
    if [{**each, "sha256": None} for each in old["sources"].values()] != [
        {**each, "sha256": None} for each in sources.values()
    ]:
        raise AssetError(f"{out}: was begun from other files than are there now; remove the folder and convert again")
    return old


def _plain(config: PreTrainedConfig) -> dict[str, Any]:
    return {key: value for key, value in json.loads(config.to_json_string()).items() if key != "transformers_version"}


def _shown(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _check_room(out: Path, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    written = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    needed, free = sum(map(size, tensors.values())) - written, shutil.disk_usage(out).free
    if needed > free:
        raise AssetError(f"{out}: {needed / 1e9:.1f} GB are needed there, {free / 1e9:.1f} GB are free; make room")


def _value(what: Conversion, name: str) -> Tensor:
    made = what.made[name]
    holders = [next(file for file in what.files if each in file.shapes) for each in made.of]
    return made.by(*(file[each] for file, each in zip(holders, made.of, strict=True)))


def constant(value: float, *shape: int) -> Callable[[], Tensor]:
    """Makes a tensor of one value, of no published one."""
    return partial(torch.full, shape, value)
