"""``build.json``: what a task's files were built from, so that a build that was stopped goes on where it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coin_lightning.assets import file_sha256
from coin_lightning.whole_files import write_json

VERSION = 1
"""Counted up with every change of what the same raw files give, so that older outputs are built again."""


class BuildRecord:
    """Output file -> what it is made of and what it holds.

    Args:
        root: the suite's folder; outputs are named relative to it.
        folder: where ``build.json`` and ``skipped.json`` lie. A damaged ``build.json`` counts as none: everything is
            then built again.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        stored = _read(folder / "build.json")
        files = stored.get("files") if stored.get("version") == VERSION else None
        self.files: dict[str, dict[str, Any]] = files if isinstance(files, dict) else {}

    def holds(self, name: str, made_of: Mapping[str, Any]) -> bool:
        """Whether the output was finished from exactly this, and is on disk unchanged."""
        entry = self.files.get(name)
        path = self.root / name
        return (
            isinstance(entry, dict)
            and entry.get("made_of") == made_of
            and path.is_file()
            and path.stat().st_size == entry.get("bytes")
            and file_sha256(path) == entry.get("sha256")
        )

    def note(self, name: str, made_of: Mapping[str, Any], **facts: Any) -> None:
        """Enter a finished output and save the record."""
        self.files[name] = {**facts, "made_of": dict(made_of)}
        write_json(self.folder / "build.json", {"version": VERSION, "files": dict(sorted(self.files.items()))})

    def note_skipped(self, split: str, count: int, listed: list[str]) -> None:
        """Put a split's skipped records into ``skipped.json``, which is there only if any split has some."""
        file = self.folder / "skipped.json"
        noted = {name: entry for name, entry in _read(file).items() if name != split}
        if count:
            noted[split] = {"count": count, "listed": listed}
        if noted:
            write_json(file, noted)
        else:
            file.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
