"""Images and ground-truth files where CoIN's layout has them: linked, copied, or only looked for."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path

from coin_lightning.benchmarks.coin.raw_sample import RawTask, first_of, needed
from coin_lightning.errors import DataError

MODES: Mapping[str, str] = {
    "link": "the image root gets symbolic links to the raw image folders",
    "copy": "every image that a sample names is copied",
    "none": "the images lie below the image root already",
    "unchecked": "samples are written without looking for any image",
}


PART = ".part"
"""How names of copies end that are being made."""


class Images:
    """A task's images below the image root.

    Args:
        task: whose image folders.
        raw: the raw folder.
        image_root: ``<out>/cl_dataset``.
        mode: one of `MODES`.
    """

    def __init__(self, task: RawTask, raw: Path, image_root: Path, mode: str) -> None:
        self.task, self.raw, self.image_root, self.mode = task, raw, image_root, mode
        self.sources: dict[str, Path] = {}
        self._names = lru_cache(256)(_names)  # ImageNet and ScienceQA have many folders

    def prepare(self) -> None:
        """Find the raw folders and make links where the mode wants them.

        Raises:
            DataError: folders that are nowhere, all listed.
        """
        problems = []
        for folder, places in self.task.images.items():
            target, source = self.image_root / folder, first_of(self.raw, places)
            if self.mode == "link" and source is not None:
                problems += _link(target, source)
            elif self.mode == "copy" and source is not None:
                if target.is_symlink():
                    problems.append(
                        f"{target}: is a link to {target.resolve()} of an earlier build, and other tasks may show its "
                        "images; remove it to have copies, and build those anew, too"
                    )
                self.sources[folder] = source
            elif self.mode != "unchecked" and not target.is_dir():
                problems.append(
                    f"{target}: image folder is missing; looked for {', '.join(places)} in {self.raw}; "
                    "unpack it there, or build with images=unchecked"
                )
        if problems:
            raise DataError(problems)

    @cached_property
    def listing(self) -> str | None:
        """sha256 of the names of all files that samples may show, wherever they lie: with other images there may be
        other samples. None where no sample depends on them."""
        if self.mode == "unchecked" and not self.task.lists_images:
            return None
        digest = hashlib.sha256()
        for folder, places in sorted(self.task.images.items()):
            target, source = self.image_root / folder, first_of(self.raw, places)
            root = target if source is None or self.mode in ("link", "none") else source
            for line in _walked(root):
                digest.update(f"{folder}/{line}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def trouble(self, image: str | None) -> str | None:
        """What is wrong with an image's path (relative to the image root), or None; copies it in mode ``copy``."""
        if image is None or self.mode == "unchecked":
            return None
        path = self.image_root / image
        if path.name in self._names(str(path.parent)):
            return None
        source = self._source(image) if self.mode == "copy" else None
        if source is None or not source.is_file():
            return f"image {source or path} is missing; restore it or remove the record"
        if not path.is_file():
            _copy(source, path)
        return None

    def _source(self, image: str) -> Path | None:
        found = ((folder, source) for folder, source in self.sources.items() if image.startswith(f"{folder}/"))
        return next((source / image.removeprefix(f"{folder}/") for folder, source in found), None)


def place_truths(task: RawTask, raw: Path, image_root: Path) -> None:
    """Copy the task's ground-truth files below the image root, where `tasks.truth` reads them.

    Raises:
        DataError: one is missing.
    """
    for name, places in task.truths.items():
        source, target = needed(raw, places, f"{task.folder}'s {Path(name).name}"), image_root / name
        if target.exists() and (target.samefile(source) or _same(target, source)):
            continue
        _copy(source, target)


def _walked(root: Path) -> Iterator[str]:
    """Folders below `root` with the names in them, each folder once wherever links lead."""
    seen: set[str] = set()
    for path, folders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(path)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield "\n".join([os.path.relpath(path, root), *sorted(name for name in names if not name.endswith(PART))])


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _link(target: Path, source: Path) -> list[str]:
    """Let `target` lead to `source`; the reason where it must not. A link of an earlier build follows, unless it leads
    to images that would be missed: another task's samples may show them."""
    if target.is_symlink() and not (target.exists() and target.samefile(source)):
        if lost := _names(str(target)) - _names(str(source)):
            return [
                f"{target}: leads to {target.resolve()}, where {len(lost)} files lie that {source} does not have "
                f"({min(lost)}); put all into one folder, or remove the link"
            ]
        target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # it is there, or another build has just made it
        target.symlink_to(source.resolve(), target_is_directory=True)
    return []


def _same(target: Path, source: Path) -> bool:
    ours, theirs = target.stat(), source.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)  # copies keep the time


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}{PART}")  # tasks that share images may be built at once
    shutil.copy2(source, beside)
    os.replace(beside, target)
