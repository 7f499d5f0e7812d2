"""What the files of a folder must hold: `manifest.json` keeps their sha256, so that no altered file is used unseen.

A file that is written whole is announced before it is written, and both its contents count until the next one is
announced: a process that dies between the two writes leaves no file that looks damaged.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from coin_lightning.assets import file_sha256
from coin_lightning.errors import CoinLightningError, RunError
from coin_lightning.json_files import BROKEN
from coin_lightning.whole_files import flush, json_text, write_json, write_text

NAME = "manifest.json"
ABOVE = 3
"""Folders in which the manifest of a file is looked for: `adapter/<name>/...` is the deepest."""
MARK = {"manifest": True}
"""What a JSON file says that counts on a manifest beside it: one that was lost is missed."""


def announce(folder: Path, name: str, sha256: str) -> None:
    """Say what a file is going to hold, before it is written. What it holds now, if that is right, stays so."""
    files, file = read(folder), folder / name
    now = file_sha256(file) if name in files and file.is_file() else None
    before = [now] if now is not None and now in files[name] and now != sha256 else []
    _write(folder, {**files, name: [*before, sha256]})


def record(folder: Path, files: Iterable[Path]) -> None:
    """Keep what files below `folder` hold now, behind their writing. Whoever reads them is told of by a later file."""
    found = {}
    for file in files:
        flush(file)
        found[file.relative_to(folder).as_posix()] = [file_sha256(file)]
    _write(folder, {**read(folder), **found})


def write_known_text(file: Path, text: str, folder: Path | None = None) -> None:
    """Announce a text file in the manifest of `folder` (default: its own) and write it whole."""
    folder = folder or file.parent
    announce(folder, file.relative_to(folder).as_posix(), hashlib.sha256(text.encode()).hexdigest())
    write_text(file, text)


def write_known_json(file: Path, data: Any, folder: Path | None = None) -> None:
    """As `write_known_text`, of JSON.

    Raises:
        TypeError, ValueError: the data hold something that JSON cannot keep; the old file stays.
    """
    write_known_text(file, json_text(data), folder)


def check(
    file: Path,
    content: bytes | None,
    remedy: str,
    kind: type[CoinLightningError] = RunError,
    known_in: Callable[[Path], Mapping[str, list[str]]] | None = None,
) -> None:
    """Compare a file with the manifest of its folder, or of one of the two above; where none names it, all is well.

    Args:
        file: that is going to be used.
        content: its bytes, where they have been read already; else they are read here.
        remedy: what the message tells to do.
        kind: class of the error.
        known_in: what a folder's manifest says, in place of `read`: whoever reads thousands of files remembers it.

    Raises:
        CoinLightningError: of class `kind`; the file holds something else than was written.
        FileNotFoundError: there is no such file although a manifest names it.
    """
    name = file.name
    for folder in file.absolute().parents[:ABOVE]:
        known, name = (known_in or read)(folder).get(name), f"{folder.name}/{name}"
        if known is not None:
            found = file_sha256(file) if content is None else hashlib.sha256(content).hexdigest()
            if found not in known:
                raise kind(
                    f"{file}: is not what was written ({NAME} has another sha256): damaged on disk or altered "
                    f"by hand; {remedy}"
                )
            return


def missing(folder: Path, names: Iterable[str]) -> list[str]:
    """Which of the files that the manifest of `folder` names below one of `names` are gone."""
    return [name for name in read(folder) if name.split("/")[0] in names and not (folder / name).is_file()]


def check_mark(file: Path, content: Mapping[str, Any]) -> None:
    """See that the manifest which a JSON file counts on is there.

    Raises:
        RunError: it is not.
    """
    if content.get("manifest") is True and not (file.parent / NAME).is_file():
        raise RunError(
            f"{file.parent / NAME}: is missing, so nobody knows whether the files beside it are sound; restore it, or "
            "remove the folder and those of later tasks and give the same command again"
        )


def read(folder: Path) -> dict[str, list[str]]:
    """What the files below a folder must hold, by name: each the sha256 that count; empty without a manifest.

    Raises:
        RunError: the manifest cannot be read.
    """
    file = folder / NAME
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        files = content.get("sha256", {})  # another program's manifest says nothing of ours
        if not all(isinstance(known, list) for known in files.values()):
            raise TypeError("a file has no list of sha256")
        return dict(files)
    except FileNotFoundError:
        return {}
    except (OSError, *BROKEN, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{file}: cannot be read ({type(error).__name__}: {error}); restore it, or remove the folder {folder} and "
            "those of later tasks and give the same command again"
        ) from error


def _write(folder: Path, files: Mapping[str, list[str]]) -> None:
    write_json(folder / NAME, {"sha256": dict(sorted(files.items()))})
