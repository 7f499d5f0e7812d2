"""CoIN-mini: the eight tasks in miniature, in exactly CoIN's layout on disk, from openly licensed pip wheels.

It is for development: a score on it says nothing about anybody's published numbers. Same bytes on every machine.
"""

import glob
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from coin_lightning import image_list
from coin_lightning.assets import BOKEH_SAMPLEDATA, EASY_VQA, OPENMOJI, SCIKIT_IMAGE, Wheel, cache_root, file_sha256
from coin_lightning.benchmarks.drawing import Materials, drawing_tools
from coin_lightning.benchmarks.layout import IMAGES, INSTRUCTIONS, write_json
from coin_lightning.benchmarks.mini_suite import CAPTIONS, TASKS, Task
from coin_lightning.benchmarks.mini_writer import write_task
from coin_lightning.errors import DataError
from coin_lightning.json_files import BROKEN, load_json
from coin_lightning.whole_files import unwritable

__all__ = ["CAPTIONS", "MANIFEST", "NOTICE", "TASKS", "VERSION", "Manifest", "Task", "build", "ensure"]

VERSION = "4"  # counted up with every change of a byte, so that cached suites are built again
MANIFEST = "manifest.json"
AFRESH = "delete the folder and run again: it is built afresh"
HeldOut = Literal["test", "validation"]
SEED = 2403
NOTICE = "CoIN-mini is a miniature for development: composed pictures from real parts; no published number follows."
_WHEELS: tuple[Wheel, ...] = (EASY_VQA, OPENMOJI, BOKEH_SAMPLEDATA, SCIKIT_IMAGE)
_FONT_TERMS = {
    "package": "DejaVu fonts as shipped by matplotlib",
    "licence": "Bitstream Vera and Arev font licences",
    "attribution": "DejaVu fonts team; Bitstream, Inc.; Tavmjong Bah",
}


@dataclass
class Manifest:
    """What was built.

    Attributes:
        held_out: which samples are evaluated: `test`, or `validation`, by which hyper-parameters are chosen.
        counts: task folder -> split -> {"rows", "pictures"}.
        files: path relative to the root -> sha256, for every JSON file.
        images: task folder -> one sha256 over the names and bytes of all its images, in drawing order.
        materials: packages with licence and attribution.
        tools: versions of what draws; another Pillow may give other bytes, so they tell why digests differ.
    """

    version: str = VERSION
    seed: int = SEED
    held_out: str = "test"
    notice: str = NOTICE
    counts: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    materials: list[dict[str, str]] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One sha256 over everything built."""
        content = json.dumps({"files": self.files, "pictures": self.images}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def ensure(root: Path | None = None, held_out: HeldOut = "test") -> Path:
    """Give the folder of the full suite, building it the first time (about a minute); instant afterwards.

    Args:
        root: where; by default ``coin_mini`` in the cache.
        held_out: see ``build``.

    Raises:
        AssetError: an image wheel is missing or altered.
        DataError: the folder exists but holds something else, or files of the suite were removed or altered.
    """
    folder = cache_root() / "coin_mini" if root is None else Path(root)
    try:
        if _is_current(folder, held_out):
            return folder
    except (DataError, FileNotFoundError):  # or another process is replacing it: looked at again when that is done
        if unwritable(folder.parent) is not None:
            raise
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not _is_current(folder, held_out):
            _build_anew(folder, held_out)
    return folder


def _build_anew(folder: Path, held_out: HeldOut) -> None:
    """Beside the folder, and then in the place of what is there, which is empty or of another version.

    Whenever this is killed the folder is whole or not there; the next one clears away what was left beside it.
    """
    _clear_beside(folder)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        build(staging, held_out=held_out)
        staging.chmod(0o755)
        if folder.exists():
            folder.rename(f"{staging}-replaced")
        staging.rename(folder)
    finally:
        _clear_beside(folder)


def _clear_beside(folder: Path) -> None:
    for left in folder.parent.glob(f".{glob.escape(folder.name)}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _is_current(folder: Path, held_out: str) -> bool:
    if not folder.exists() or not any(folder.iterdir()):
        return False
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        version, holds = manifest["version"], manifest.get("held_out", "test")
        missing = [name for name in manifest["files"] if not (folder / name).is_file()]
        there = {name: known for name, known in manifest["files"].items() if name not in missing}
        altered = [name for name, known in there.items() if file_sha256(folder / name) != known]
    except (OSError, *BROKEN, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder} is no CoIN-mini ({MANIFEST}: {error}): move it away, or name another folder"
        ) from error
    if missing:
        raise DataError(f"{folder} lacks {missing[0]}: delete the folder and run again; it is then built afresh")
    if holds != held_out:
        raise DataError(f"{folder} is CoIN-mini with its {holds} samples, not {held_out}: name another folder")
    if altered:
        raise DataError(
            f"{folder / altered[0]}: is not what was built ({MANIFEST} has another sha256): damaged or altered by "
            f"hand; {AFRESH}. Data of your own belong into another folder"
        )
    if version == VERSION and not (folder / image_list.NAME).is_file():
        _check_images(folder, manifest)
        if unwritable(folder) is None:
            image_list.write_list(folder, _image_digests(folder))
    return bool(version == VERSION)


def _check_images(folder: Path, manifest: dict[str, Any]) -> None:
    """See that images are those of the manifest, which has one sha256 per task: for suites without a list of them."""
    for task, known in manifest.get("images", {}).items():
        digest = hashlib.sha256()
        files = sorted((folder / INSTRUCTIONS / task).glob("*.json"), key=lambda file: file.name != "train.json")
        for file in files:  # as they were drawn
            for image in sorted({sample["image"] for sample in load_json(file) if "image" in sample}):
                path = folder / IMAGES / image
                if not path.is_file():
                    raise DataError(f"{path}: is missing; {AFRESH}")
                digest.update(image.encode() + path.read_bytes())
        if digest.hexdigest() != known:
            raise DataError(
                f"{folder / IMAGES}: an image of {task} is not what was built ({MANIFEST} has another sha256): damaged "
                f"or altered by hand; {AFRESH}"
            )


def _image_digests(root: Path) -> dict[str, str]:
    """sha256 of every image by its path below the root."""
    files = sorted(file for file in (root / IMAGES).rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return {file.relative_to(root).as_posix(): file_sha256(file) for file in files}


def build(
    root: Path,
    train_samples: int = 2000,
    test_samples: int = 400,
    seed: int = SEED,
    caption_samples: int = 3000,
    held_out: HeldOut = "test",
) -> Manifest:
    """Write the eight tasks, their ground-truth files, the caption data and ``manifest.json`` under ``root``.

    Each task has its ``share`` of ``train_samples``; all have ``test_samples``.

    With ``held_out="validation"`` the files of test samples hold others, drawn in the same way and in no other split:
    hyper-parameters are chosen by them. The training samples are the same.

    Raises:
        AssetError: an image wheel is missing or altered.
    """
    root = Path(root)
    materials = Materials()
    manifest = Manifest(
        seed=seed, held_out=held_out, materials=[*map(_terms, _WHEELS), _FONT_TERMS], tools=drawing_tools()
    )
    plan: list[tuple[Task, dict[str, int]]] = [
        (task, {"train": max(1, round(train_samples * task.share)), "test": test_samples}) for task in TASKS
    ]
    plan.append((CAPTIONS, {"train": caption_samples}))
    for task, samples in plan:
        written = write_task(root, task, samples, seed, materials, held_out)
        manifest.counts[task.folder] = written.counts
        manifest.images[task.folder] = written.images
    for path in sorted(root.rglob("*.json")):
        manifest.files[path.relative_to(root).as_posix()] = file_sha256(path)
    image_list.write_list(root, _image_digests(root))
    write_json(root / MANIFEST, {**asdict(manifest), "digest": manifest.digest})
    return manifest


def _terms(wheel: Wheel) -> dict[str, str]:
    return {"package": f"{wheel.name} {wheel.version}", "licence": wheel.licence, "attribution": wheel.attribution}
