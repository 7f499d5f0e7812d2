"""Samples of one group brought together, however far apart they stand: by a file on disk, not in memory."""

import json
import mmap
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from coin_lightning.benchmarks.coin.raw_sample import RawSample


def grouped(samples: Iterable[RawSample], folder: Path) -> Iterator[list[RawSample]]:
    """Groups in order of their first sample, samples in their order, one without a group alone. `fields` are lost.

    Memory holds 12 bytes per sample and each group's name; the samples wait in a nameless file in ``folder``.
    """
    numbers: dict[str, int] = {}
    owners, places = array("I"), array("Q")
    count = 0
    with tempfile.TemporaryFile(dir=folder) as spill:
        for sample in samples:
            owner = count if sample.group is None else numbers.setdefault(sample.group, count)
            count += owner == count
            owners.append(owner)
            places.append(spill.tell())
            spill.write(
                json.dumps([sample.id, sample.image, sample.question, sample.answer, sample.group]).encode() + b"\n"
            )
        if owners:
            spill.flush()
            with mmap.mmap(spill.fileno(), 0, access=mmap.ACCESS_READ) as text:
                yield from _in_order(text, np.asarray(owners), np.asarray(places))


def _in_order(text: mmap.mmap, owners: np.ndarray, places: np.ndarray) -> Iterator[list[RawSample]]:
    group: list[RawSample] = []
    last = -1
    for index in np.argsort(owners, kind="stable"):
        if owners[index] != last and group:
            yield group
            group = []
        last = owners[index]
        text.seek(int(places[index]))
        group.append(RawSample(*json.loads(text.readline())))
    yield group
