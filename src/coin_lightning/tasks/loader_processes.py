"""Loader processes that fail or die are told with the samples that they were working on.

A process that dies says nothing. So each notes in shared memory what it begins, and the training process reads there
what a dead one has begun and not ended.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from traceback import extract_tb
from typing import Any
from weakref import WeakSet

import torch
from torch.utils.data import get_worker_info

from coin_lightning.errors import CoinLightningError, DataError, RunError, first_line, is_out_of_memory
from coin_lightning.tasks.sample_sequence import as_samples

DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+)")
"""How PyTorch tells of one, at whatever place of the training process."""
REMEDY = (
    "Look at what these samples hold and at their images. What was done is kept, and the same command goes on; with "
    "batches.num_workers=0 the samples are read in the run's own process"
)
FREE = -1


@dataclass(frozen=True)
class Failed:
    """What a loader process gives in place of a batch that it could not make."""

    error: CoinLightningError


class Workbench:
    """Makes batches, and knows which samples every loader process is making one of.

    Args:
        samples: by number.
        collate: samples to a batch.
        processes: loader processes; 0: the run's own.
        most: samples of a batch.
    """

    def __init__(
        self, samples: Sequence[Any], collate: Callable[[Sequence[Any]], Any], processes: int, most: int
    ) -> None:
        self.samples, self.collate = samples, collate
        self.notes = torch.full((processes, 1 + most), FREE, dtype=torch.int64).share_memory_()
        _benches.add(self)

    def make(self, numbers: Sequence[int]) -> Any:
        """The batch of these samples; in a loader process what went wrong as a `Failed`.

        Raises:
            CoinLightningError: as `collate`, or of class RunError for what else it or the samples raise.
        """
        process = get_worker_info()
        try:
            if process is not None:
                self.notes[process.id, 0] = os.getpid()
                self.notes[process.id, 1 : 1 + len(numbers)] = torch.tensor(list(numbers))
            return self.collate([self.samples[number] for number in numbers])
        except Exception as error:
            if (told := self._told(error, numbers)) is None:
                raise
            if process is None:
                raise told from error
            return Failed(told)
        finally:
            if process is not None:
                self.notes[process.id, 1:] = FREE

    def _told(self, error: Exception, numbers: Sequence[int]) -> CoinLightningError | None:
        """The error in our words; None for memory that ran out, which has words of its own."""
        if isinstance(error, CoinLightningError):
            return error if isinstance(error, DataError) else RunError(str(error))
        if is_out_of_memory(error):
            return None
        place = extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        return RunError(f"{self.names(numbers)}: cannot be made into a batch ({error!r} in {where}). {REMEDY}")

    def names(self, numbers: Sequence[int]) -> str:
        """Files and samples for messages."""
        samples = as_samples(self.samples)
        return ", ".join(samples.where(number) for number in numbers)

    def begun(self, process: int) -> list[int] | None:
        """Numbers of the samples that a process has begun and not ended; None when it is none of here."""
        own = next((row for row in self.notes.tolist() if row[0] == process), None)
        return None if own is None else [number for number in own[1:] if number != FREE]


_benches: WeakSet[Workbench] = WeakSet()


def sound(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches of loader processes.

    Raises:
        CoinLightningError: one could not be made.
    """
    for batch in batches:
        if isinstance(batch, Failed):
            raise batch.error
        yield batch


def dead_process(error: BaseException) -> RunError | None:
    """What to say of a loader process that died; None for all other errors."""
    found = DIED.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    process = int(found[1])
    for bench in _benches:
        if (numbers := bench.begun(process)) is not None:
            what = f"while it made a batch of {bench.names(numbers)}" if numbers else "between two batches"
            break
    else:
        what = "and nobody knows over which samples"
    return RunError(
        f"a loader process died {what} ({first_line(error)}). Where the machine has no memory left, its kernel ends "
        f"processes: lower batches.num_workers or batches.size. {REMEDY}"
    )
