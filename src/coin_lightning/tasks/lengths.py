"""Exact numbers of tokens of rows, picture tokens included, counted once and kept beside the features."""

import hashlib
import multiprocessing
import os
import signal
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from filelock import FileLock

from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.picture_ledger import cores
from coin_lightning.tasks.row_sequence import JoinedRows, RowSequence, as_rows
from coin_lightning.tasks.row_table import LazyRows
from coin_lightning.tasks.subsets import chunks

VERSION = 1
"""Of what makes a row's tokens; counted up with every change of `Encoder.turns` or of a prompt's `render`."""
TOGETHER = 512
"""Rows that are counted at once."""
MANY = 20_000
"""Rows from which on several processes count."""
FOLDER = "lengths"
"""Name in the features folder."""
UNKNOWN = -1


def row_lengths(rows: Sequence[Any], encoder: Encoder, features: Path) -> np.ndarray:
    """Tokens of each row, uncut: `[rows]`; equal to `len(encoder.whole(row)[0])`.

    Args:
        rows: of one or of several files; those of a file are remembered in `<features>/lengths/`.
        encoder: of all of them.
        features: folder of the caches.

    Raises:
        DataError: a box cannot be converted, or a file was changed.
    """
    rows = as_rows(rows)
    if isinstance(rows, JoinedRows):
        return np.concatenate([row_lengths(part, encoder, features) for part in rows.parts])[rows.chosen]
    if not isinstance(rows, LazyRows) or not len(rows):
        return counted(rows, encoder)
    file = features / FOLDER / f"{_key(rows, encoder)}.npy"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            return _remembered(rows, encoder, file)
    except OSError as error:
        warnings.warn(
            f"{file}: lengths of rows cannot be kept here ({error}); every start counts all tokens again", stacklevel=2
        )
        return counted(rows, encoder)


def _remembered(rows: LazyRows[Any], encoder: Encoder, file: Path) -> np.ndarray:
    """Lengths from a file, which gets those that it lacks."""
    known, numbers = _load(file, len(rows.raw)), rows.columns.table()[rows.chosen, 0]
    fresh = np.flatnonzero(known[numbers] == UNKNOWN)
    if len(fresh):
        known[numbers[fresh]] = counted(rows.select(fresh), encoder)
        scratch = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        with scratch.open("wb") as stream:
            np.save(stream, known)
        os.replace(scratch, file)
    return known[numbers].astype(np.int64)


def _load(file: Path, count: int) -> np.ndarray:
    try:
        known = np.load(file)
        if known.dtype == np.int32 and known.shape == (count,):
            return known
    except (OSError, ValueError, EOFError):  # it is not there, or was cut off by a full disk
        pass
    return np.full(count, UNKNOWN, dtype=np.int32)


def _key(rows: LazyRows[Any], encoder: Encoder) -> str:
    """Name of everything that decides the lengths: file, tokenizer, prompt, and what converted boxes depend on."""
    kind = rows.make.__name__
    parts: list[Any] = [VERSION, tokenizers.__version__, rows.raw.sha256, kind, encoder.backbone.text_key()]
    if encoder.converts_boxes:
        parts += [encoder.backbone.box_format, *((image, encoder.size_of(image)) for image in rows.images)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def counted(rows: RowSequence[Any], encoder: Encoder) -> np.ndarray:
    """Lengths counted now, for many rows by several processes."""
    parts = list(chunks(range(len(rows)), TOGETHER))
    if len(rows) < MANY:
        return np.array([*chain.from_iterable(_count(rows, encoder, part) for part in parts)], dtype=np.int64)
    # forked, so that neither rows nor model are copied
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(cores(), context, initializer=_start, initargs=(rows, encoder)) as pool:
        return np.array([*chain.from_iterable(pool.map(_count_here, parts, chunksize=4))], dtype=np.int64)


def _count(rows: RowSequence[Any], encoder: Encoder, part: Sequence[int]) -> list[int]:
    return encoder.backbone.token_counts([encoder.backbone.prompt.render(encoder.turns(rows[at])) for at in part])


_here: list[Any] = []
"""In a counting process: rows and encoder."""


def _start(rows: RowSequence[Any], encoder: Encoder) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for this one answers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # forked with handlers that belong to the run
    _here[:] = rows, encoder


def _count_here(part: Sequence[int]) -> list[int]:
    return _count(_here[0], _here[1], part)
