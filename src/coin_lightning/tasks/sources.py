"""Where a task's samples come from, chosen by the config's group `source`: JSON as published, or `datasets`."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from coin_lightning.assets import file_sha256
from coin_lightning.errors import DataError
from coin_lightning.json_files import unreadable
from coin_lightning.json_stream import read_samples
from coin_lightning.tasks.sample_table import RawSamples

SPELLINGS = ("Instructions_", "Instruction_")
"""The published scripts say the one, the published README the other (`coin_reference.md` section 3.1)."""


class Source(Protocol):
    """Gives the samples of a task's split."""

    def samples(self, directory: str, instructions: str, split: str) -> RawSamples:
        """Unread samples.

        Args:
            directory: the task's folder, e.g. `ScienceQA`.
            instructions: instruction type, e.g. `Instructions_Original`.
            split: `train`, `test` or `val`.

        Raises:
            DataError: they cannot be found.
        """

    def file(self, directory: str, instructions: str, split: str) -> Path:
        """Where they lie, for messages; nothing needs to be there."""


class JsonSource:
    """`<root>/<instructions>/<directory>/<split>.json`, lists in LLaVA's JSON.

    Args:
        root: folder with the instruction folders.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def samples(self, directory: str, instructions: str, split: str) -> "JsonFile":
        """See `Source`."""
        return JsonFile(task_folder(self.root, instructions, directory) / f"{split}.json")

    def file(self, directory: str, instructions: str, split: str) -> Path:
        """See `Source`."""
        folders = [folder for folder in spelt(self.root, instructions, directory) if folder.is_dir()]
        return (folders or [self.root / instructions / directory])[0] / f"{split}.json"


class JsonFile:
    """Samples of a JSON file, see `RawSamples`."""

    def __init__(self, file: Path) -> None:
        self.file, self.name, self.place = file, file.name, str(file)

    def __iter__(self) -> Iterator[Any]:
        """See `read_samples`; raises also when the file was changed since it was hashed."""
        before = self.sha256
        yield from read_samples(self.file)
        if file_sha256(self.file) != before:
            raise DataError(f"{self.file}: was changed while it was read; give the same command again to go on")

    def key(self) -> str:
        """See `RawSamples`."""
        return self.sha256

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's bytes.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return file_sha256(self.file)
        except OSError as error:
            raise unreadable(self.file, error) from None


def spelt(root: Path, instructions: str, directory: str) -> list[Path]:
    """The task's folder in both spellings of the instruction type, the given one first."""
    for own, other in (SPELLINGS, SPELLINGS[::-1]):
        if instructions.startswith(own):
            return [root / name / directory for name in (instructions, other + instructions.removeprefix(own))]
    return [root / instructions / directory]


def task_folder(root: Path, instructions: str, directory: str) -> Path:
    """The task's folder, in whichever spelling of the instruction type is there.

    Raises:
        DataError: neither is there, or both are and they are not the same folder.
    """
    places = spelt(root, instructions, directory)
    found = [place for place in places if place.is_dir()]
    if not found:
        raise DataError(
            f"{places[0]}: folder is missing{''.join(f', and so is {place}' for place in places[1:])}; check the data "
            "folder (data.root, paths.coin, paths.data), data.instructions and the task's directory"
        )
    if len(found) > 1 and not found[0].samefile(found[1]):
        raise DataError(
            f"{found[0]} and {found[1]} are both there; remove or rename one, so that it is clear which is meant"
        )
    return found[0]
