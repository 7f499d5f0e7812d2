"""Vision features of the frozen tower, computed once per image and read back through a memory map.

A store is a folder named after tower and preprocessing, and the store's version. `features.bin` holds bfloat16 values,
the tokens of an image behind those of the one before, as many as it has; `index.txt` one line per image: its sha256 and
its number of tokens. Values are written before their lines, so a killed process leaves at most unused bytes.
"""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from coin_lightning.errors import DataError

VERSION = 2
"""Of the files; 1 had float16 and the same number of tokens for every image, in folders without a version."""
LINE = 64 + 8
"""Characters of a line: the hash, and the tokens with blank and line break."""
BYTES = 2
"""Of a value."""


class FeatureStore:
    """Append-only table from image hash to features.

    Args:
        folder: made when missing, with the version behind its name.
        width: values of a token.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.width = folder.with_name(f"{folder.name}-v{VERSION}"), width
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index, self._data = self.folder / "index.txt", self.folder / "features.bin"
        self._places: dict[str, tuple[int, int]] = {}  # first token and the one behind the last
        self._tokens: np.ndarray | None = None
        self.refresh()

    def lock(self) -> FileLock:
        """Held while features are computed and added, so that two runs share the work."""
        return FileLock(self.folder / "lock")

    def refresh(self) -> None:
        """See what other processes have added.

        Raises:
            DataError: the index names more tokens than the file holds.
        """
        text = self._index.read_text() if self._index.exists() else ""
        lines = takewhile(lambda line: len(line) == LINE, text.splitlines(keepends=True))  # the last may be cut
        self._places, end = {}, 0
        for digest, tokens in map(str.split, lines):
            self._places[digest] = end, end + int(tokens)
            end += int(tokens)
        held = self._data.stat().st_size // (self.width * BYTES) if self._data.exists() else 0
        if end > held:
            raise DataError(
                f"{self._data}: holds {held} of {end} tokens; remove the folder {self.folder} and run again"
            )
        self._tokens = np.memmap(self._data, np.int16, "r", shape=(held, self.width)) if held else None

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, digests: Sequence[str], features: Sequence[Tensor] | Tensor) -> None:
        """Append features `[tokens, width]` of each image; known ones are skipped. Call it holding `lock()`.

        Raises:
            DataError: their width is not the store's, which would shift all that follow.
        """
        fresh = {digest: part for digest, part in zip(digests, features, strict=True) if digest not in self._places}
        if wrong := [part for part in fresh.values() if part.dim() != 2 or part.shape[1] != self.width]:
            raise DataError(
                f"{self.folder}: features of shape {list(wrong[0].shape)} in a store of width {self.width}; remove the "
                "folder and run again"
            )
        end = max((end for _, end in self._places.values()), default=0)
        with self._data.open("r+b" if self._data.exists() else "w+b") as data:
            data.seek(end * self.width * BYTES)
            for part in fresh.values():
                data.write(part.to(torch.bfloat16).cpu().contiguous().view(torch.int16).numpy().tobytes())
        with self._index.open("r+" if self._index.exists() else "w+") as index:
            index.seek(len(self._places) * LINE)
            index.truncate()
            index.writelines(f"{digest} {len(part):6d}\n" for digest, part in fresh.items())
        self.refresh()

    def get(self, digest: str) -> Tensor:
        """Features `[tokens, width]` in bfloat16, also of images that another task or process has added meanwhile.

        Raises:
            KeyError: nobody has computed them.
        """
        if digest not in self._places:
            self.refresh()
        start, end = self._places[digest]
        assert self._tokens is not None  # there is an image, so there is a file
        return torch.from_numpy(np.array(self._tokens[start:end])).view(torch.bfloat16)
