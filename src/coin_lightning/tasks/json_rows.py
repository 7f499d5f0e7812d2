"""Rows of a JSON file: read through once, then decoded one by one when they are asked for.

A file of CoIN's size (a quarter of a gigabyte per task) would take ten times that as Python objects.
"""

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from coin_lightning.assets import file_sha256
from coin_lightning.errors import DataError
from coin_lightning.tasks.json_files import unreadable
from coin_lightning.tasks.json_stream import list_items

PIECE = 1 << 23
"""Bytes read at once."""


class JsonRows:
    """A file that holds a list. `scan` must have run to its end before rows are taken by number.

    The file stays open, so it may be renamed or replaced meanwhile, but not written into.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.name, self.place = file, file.name, str(file)
        self._kept: KeptFile | None = None
        self._places = array("q")  # first byte and number of bytes of each row
        self._sha256: str | None = None

    def scan(self) -> Iterator[Any]:
        """All values of the list in order, each parsed once.

        Raises:
            DataError: the file is missing, cannot be read, or is malformed from some place on.
        """
        self._places, self._sha256 = array("q"), None
        try:
            self._kept = kept = KeptFile(self.file)
        except OSError as error:
            raise unreadable(self.file, error) from None
        digest = hashlib.sha256()
        for offset, size, value in list_items(self.file, kept.pieces(digest)):
            self._places.extend((offset, size))
            yield value
        self._sha256 = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._places) // 2

    def __getitem__(self, index: int) -> Any:
        """The value of a row.

        Raises:
            DataError: the file was written into after it was read.
        """
        assert self._kept is not None  # there are rows, so there was a scan
        offset, size = self._places[2 * index : 2 * index + 2]
        return json.loads(self._kept.read(size, offset))

    def where(self, index: int) -> str:
        """File and row for messages."""
        return f"{self.file} row {index}"

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes."""
        return self._sha256 or file_sha256(self.file)


class KeptFile:
    """A file that is kept open to read parts of it, from any process or thread.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, file: Path, stamp: tuple[int, int] | None = None) -> None:
        self.file = file
        self._descriptor = os.open(file, os.O_RDONLY)
        self.stamp = stamp or self._now()

    def read(self, size: int, offset: int) -> bytes:
        """Bytes from `offset` on.

        Raises:
            DataError: size or modification time are not what they were.
        """
        if self._now() != self.stamp:
            raise DataError(f"{self.file}: was changed while it was in use; give the same command again to go on")
        return os.pread(self._descriptor, size, offset)

    def pieces(self, digest: Any) -> Iterator[bytes]:
        """The whole file in parts; `digest` takes them beside the reader, outside the interpreter's lock.

        Raises:
            DataError: it cannot be read.
        """
        offset = 0
        with ThreadPoolExecutor(1) as beside:
            while piece := self._piece(offset):
                beside.submit(digest.update, piece)
                offset += len(piece)
                yield piece

    def _piece(self, offset: int) -> bytes:
        try:
            return self.read(PIECE, offset)
        except OSError as error:
            raise unreadable(self.file, error) from None

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptFile, (self.file, self.stamp)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "_descriptor"):
            close(self._descriptor)
