"""Vision features of the frozen tower, computed once per picture and read back through a memory map.

A store is a folder named after tower and preprocessing. `features.bin` holds one float16 block per picture, `index.txt`
one line per block: the picture's sha256. Blocks are written before their lines, so a killed process leaves at most
unused bytes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from coin_lightning.errors import DataError

DIGEST = 64


class FeatureStore:
    """Append-only table from picture hash to features.

    Args:
        folder: made when missing.
        shape: tokens per picture and width of a token.
    """

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.shape = folder, shape
        self.block = int(np.prod(shape)) * 2
        self._rows: dict[str, int] = {}
        self._blocks: np.ndarray | None = None
        self.refresh()

    def lock(self) -> FileLock:
        """Held while features are computed and added, so that two runs share the work."""
        return FileLock(self.folder / "lock")

    def refresh(self) -> None:
        """See what other processes have added.

        Raises:
            DataError: the index names more blocks than the file holds.
        """
        index, data = self.folder / "index.txt", self.folder / "features.bin"
        text = index.read_text() if index.exists() else ""
        lines = [line for line in text.split("\n")[:-1] if len(line) == DIGEST]  # a cut last line has no end
        held = data.stat().st_size // self.block if data.exists() else 0
        if len(lines) > held:
            raise DataError(
                f"{data}: holds {held} of {len(lines)} features; remove the folder {self.folder} and run again"
            )
        self._rows = {digest: row for row, digest in enumerate(lines)}
        self._blocks = np.memmap(data, np.float16, "r", shape=(held, *self.shape)) if held else None

    def __contains__(self, digest: str) -> bool:
        return digest in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, digests: Sequence[str], features: Tensor) -> None:
        """Append features `[n, tokens, width]` of pictures; known ones are skipped. Call it holding `lock()`.

        Raises:
            DataError: their shape is not the store's, which would shift all that follow.
        """
        if tuple(features.shape[1:]) != self.shape:
            raise DataError(
                f"{self.folder}: features of shape {list(features.shape[1:])} in a store of {list(self.shape)}; the "
                "tower's tokens and image_seq_length of the checkpoint's config.json must agree"
            )
        fresh = {digest: at for at, digest in enumerate(digests) if digest not in self._rows}
        features = features[list(fresh.values())]
        data, index = self.folder / "features.bin", self.folder / "index.txt"
        mode = "r+b" if data.exists() else "w+b"
        with data.open(mode) as stream:
            stream.seek(len(self._rows) * self.block)
            stream.write(features.to(torch.float16).cpu().contiguous().numpy().tobytes())
        with index.open("r+" if index.exists() else "w+") as stream:
            stream.seek(len(self._rows) * (DIGEST + 1))
            stream.truncate()
            stream.write("".join(f"{digest}\n" for digest in fresh))
        self.refresh()

    def get(self, digest: str) -> Tensor:
        """Features `[tokens, width]` in float16, also of pictures that another task or process has added meanwhile.

        Raises:
            KeyError: nobody has computed them.
        """
        if digest not in self._rows:
            self.refresh()
        row = self._rows[digest]
        assert self._blocks is not None  # there is a row, so there is a file
        return torch.from_numpy(np.array(self._blocks[row]))
