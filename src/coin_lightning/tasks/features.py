"""Vision features of the frozen tower, computed once per image and read back through a memory map.

A store is a folder named after tower and preprocessing, and the store's version. `features.bin` holds bfloat16 values,
the tokens of an image behind those of the one before, as many as it has; `index.txt` one line per image: its sha256,
its first token, its number of tokens, and two checksums, of the values and of the line. Values are written before their
lines, so a killed process leaves at most unused bytes; a line that was lost or altered takes nothing else along.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from coin_lightning.errors import DataError
from coin_lightning.whole_files import flush, unwritable

VERSION = 3
"""Of the files; 1 had float16 and no version in the folder's name, 2 neither first tokens nor checksums."""
BYTES = 2
"""Of a value."""


class FeatureStore:
    """Append-only table from image hash to features.

    Args:
        folder: made with what is first added, with the version behind its name. One that is complete is only read.
        width: values of a token.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.width = folder.with_name(f"{folder.name}-v{VERSION}"), width
        self._index, self._data = self.folder / "index.txt", self.folder / "features.bin"
        self._places: dict[str, tuple[int, int, int]] = {}  # first token, number of tokens, checksum
        self._tokens: np.ndarray | None = None
        self.refresh()

    @contextmanager
    def adding(self, count: int) -> Iterator[None]:
        """Inside the block no other process adds, so that runs share the work; what others have added is seen.

        Args:
            count: of images that lack features, for the message.

        Raises:
            DataError: the folder cannot be written to.
        """
        if reason := unwritable(self.folder):
            raise DataError(
                f"{self.folder}: lacks the features of {count} images, and {reason}; name another place with "
                "paths.features=FOLDER, or let someone who may write there start this run once"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            self.refresh()
            yield

    def refresh(self) -> None:
        """See what other processes have added.

        Raises:
            DataError: the index names more tokens than the file holds.
        """
        self._places = {digest: place for digest, *place in self._lines()}  # type: ignore[misc]
        end = self._end()
        held = self._data.stat().st_size // (self.width * BYTES) if self._data.exists() else 0
        if end > held:
            raise DataError(
                f"{self._data}: holds {held} of {end} tokens; remove the folder {self.folder} and run again"
            )
        self._tokens = np.memmap(self._data, np.int16, "r", shape=(held, self.width)) if held else None

    def _lines(self) -> Iterator[tuple[str, int, int, int]]:
        """Sound lines of the index; others, the last that a kill cut off among them, are as if they were not there."""
        for line in self._index.read_text(errors="replace").split("\n")[:-1] if self._index.exists() else ():
            facts, _, own = line.rpartition(" ")
            if own == f"{crc32(facts.encode()):08x}":
                digest, start, tokens, checksum = facts.split()
                yield digest, int(start), int(tokens), int(checksum, 16)

    def _end(self) -> int:
        return max((start + tokens for start, tokens, _ in self._places.values()), default=0)

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, digests: Sequence[str], features: Sequence[Tensor] | Tensor) -> None:
        """Append features `[tokens, width]` of each image; known ones are skipped. Call it inside `adding`.

        Raises:
            DataError: their width is not the store's, which would shift all that follow.
        """
        fresh = {digest: part for digest, part in zip(digests, features, strict=True) if digest not in self._places}
        if wrong := [part for part in fresh.values() if part.dim() != 2 or part.shape[1] != self.width]:
            raise DataError(
                f"{self.folder}: features of shape {list(wrong[0].shape)} in a store of width {self.width}; remove the "
                "folder and run again"
            )
        start = self._end()
        lines = []
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._data.open("r+b" if self._data.exists() else "w+b") as data:
            data.seek(start * self.width * BYTES)
            for digest, part in fresh.items():
                values = part.to(torch.bfloat16).cpu().contiguous().view(torch.int16).numpy().tobytes()
                data.write(values)
                facts = f"{digest} {start} {len(part)} {crc32(values):08x}"
                lines.append(f"{facts} {crc32(facts.encode()):08x}\n")
                start += len(part)
        flush(self._data)
        cut = self._index.exists() and not self._index.read_bytes().endswith(b"\n")
        with self._index.open("a") as index:
            index.write(("\n" if cut else "") + "".join(lines))
        self.refresh()

    def get(self, digest: str) -> Tensor:
        """Features `[tokens, width]` in bfloat16, also of images that another task or process has added meanwhile.

        Raises:
            KeyError: nobody has computed them.
            DataError: they are not what was written.
        """
        if digest not in self._places:
            self.refresh()
        start, tokens, checksum = self._places[digest]
        assert self._tokens is not None  # there is an image, so there is a file
        values = np.array(self._tokens[start : start + tokens])
        if crc32(values.tobytes()) != checksum:
            raise DataError(
                f"{self._data}: the features of image {digest[:12]}... are not what was written; the file is damaged. "
                f"Remove the folder {self.folder} and run again: features are computed anew"
            )
        return torch.from_numpy(values).view(torch.bfloat16)
