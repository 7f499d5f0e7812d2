"""Exact numbers of tokens of samples, image tokens included, counted once and kept beside the features."""

import hashlib
import multiprocessing
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
from coin_lightning.tasks.image_ledger import cores
from coin_lightning.tasks.sample_sequence import SampleFile, SampleList, as_samples
from coin_lightning.tasks.subsets import chunks
from coin_lightning.whole_files import taking_place_of

VERSION = 4
"""Of what makes a sample's tokens; counted up with every change of `Encoder.turns` or of a prompt's `render`."""
TOGETHER = 512
"""Samples that are counted at once."""
MANY = 20_000
"""Samples from which on several processes count."""
FOLDER = "lengths"
"""Name in the features folder."""
UNKNOWN = -1


def sample_lengths(samples: Sequence[Any], encoder: Encoder, features: Path) -> np.ndarray:
    """Tokens of each sample, uncut: `[samples]`; equal to `len(encoder.whole(sample)[0])`.

    Args:
        samples: of one or of several files; those of a file are remembered in `<features>/lengths/`.
        encoder: of all of them.
        features: folder of the caches.

    Raises:
        DataError: a box cannot be converted.
    """
    samples = as_samples(samples)
    lengths = np.zeros(len(samples), dtype=np.int64)
    for number, (part, numbers) in enumerate(samples.by_part()):
        if len(numbers):
            lengths[samples.places[:, 0] == number] = _of_part(part, numbers, encoder, features)
    return lengths


def _of_part(
    part: SampleFile[Any] | SampleList[Any], numbers: np.ndarray, encoder: Encoder, features: Path
) -> np.ndarray:
    if isinstance(part, SampleList):
        return counted(part, numbers, encoder)
    file = features / FOLDER / f"{_key(part, numbers, encoder)}.npy"
    known = _load(file, len(part))[numbers]
    if not (known == UNKNOWN).any():  # all are there, and nothing is written
        return known.astype(np.int64)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            return _remembered(part, numbers, encoder, file)
    except OSError as error:
        warnings.warn(
            f"{file}: lengths of samples cannot be kept here ({error}); every start counts all tokens again",
            stacklevel=2,
        )
        return counted(part, numbers, encoder)


def _remembered(part: SampleFile[Any], numbers: np.ndarray, encoder: Encoder, file: Path) -> np.ndarray:
    """Lengths from a file, which gets those that it lacks."""
    known = _load(file, len(part))
    fresh = np.unique(numbers[known[numbers] == UNKNOWN])
    if len(fresh):
        known[fresh] = counted(part, fresh, encoder)
        with taking_place_of(file) as scratch, scratch.open("wb") as stream:
            np.save(stream, known)
    return known[numbers].astype(np.int64)


def _load(file: Path, count: int) -> np.ndarray:
    try:
        known = np.load(file)
        if known.dtype == np.int32 and known.shape == (count,):
            return known
    except (OSError, ValueError, EOFError):  # it is not there, or was cut off by a full disk
        pass
    return np.full(count, UNKNOWN, dtype=np.int32)


def _key(part: SampleFile[Any], numbers: np.ndarray, encoder: Encoder) -> str:
    """Name of everything that decides the lengths: file, tokenizer, prompt, and what converted boxes depend on."""
    parts: list[Any] = [
        VERSION, tokenizers.__version__, part.raw.sha256, part.kind.name, encoder.backbone.text_key()
    ]  # fmt: skip
    if encoder.converts_boxes or not encoder.backbone.family.alike:
        images = dict.fromkeys(image for _, image in part.images(numbers))
        parts += [
            encoder.converts_boxes,
            encoder.backbone.box_format,
            *((image, encoder.size_of(image)) for image in images),
        ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def counted(part: SampleFile[Any] | SampleList[Any], numbers: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Lengths counted now, for many samples by several processes."""
    pieces = list(chunks(numbers.tolist(), TOGETHER))
    if len(numbers) < MANY:
        return np.array([*chain.from_iterable(_count(part, encoder, piece) for piece in pieces)], dtype=np.int64)
    # forked, so that neither samples nor model are copied
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(cores(), context, initializer=_start, initargs=(part, encoder)) as pool:
        return np.array([*chain.from_iterable(pool.map(_count_here, pieces, chunksize=4))], dtype=np.int64)


def _count(part: SampleFile[Any] | SampleList[Any], encoder: Encoder, numbers: Sequence[int]) -> list[int]:
    samples = [part[at] for at in numbers]
    pages = [encoder.backbone.prompt.render(encoder.turns(sample)) for sample in samples]
    return encoder.backbone.token_counts(pages, [encoder.grids(sample) for sample in samples])


_here: list[Any] = []
"""In a counting process: samples and encoder."""


def _start(part: SampleFile[Any] | SampleList[Any], encoder: Encoder) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for this one answers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # forked with handlers that belong to the run
    _here[:] = part, encoder


def _count_here(numbers: Sequence[int]) -> list[int]:
    return _count(_here[0], _here[1], numbers)
