"""Who works on what, and what is said of a loader process that died; real ones die in `integration`."""

import os
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader

from coin_lightning.errors import DataError, RunError
from coin_lightning.tasks.loader_processes import Workbench, dead_process, sound
from coin_lightning.tasks.loaders import Made, _as_it_is

SAMPLES = [SimpleNamespace(where=f"x.json sample {number}", number=number) for number in range(4)]
KILLED = "DataLoader worker (pid {}) is killed by signal: Killed. "
GONE = "DataLoader worker (pid(s) {}, 12) exited unexpectedly"


def collate(samples: Sequence[SimpleNamespace]) -> list[int]:
    numbers = [sample.number for sample in samples]
    if 2 in numbers:
        raise {3: DataError("x.json sample 2: is no sample"), 1: MemoryError("more")}.get(numbers[0], KeyError("a"))
    return numbers


def loaded(batches: list[list[int]], processes: int) -> list[list[int]]:
    bench = Workbench(SAMPLES, collate, processes, 2)
    loader = DataLoader(Made(bench), batch_sampler=batches, num_workers=processes, collate_fn=_as_it_is)
    return list(sound(iter(loader)))


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_errors_of_samples_are_ours_whatever_process_makes_the_batch(processes: int):
    assert loaded([[0, 1], [3]], processes) == [[0, 1], [3]]
    with pytest.raises(DataError, match=r"^x.json sample 2: is no sample$"):
        loaded([[3, 2]], processes)
    with pytest.raises(
        RunError, match=r"^x.json sample 0, x.json sample 2: cannot be made into a batch \(KeyError\('a'\) in test_l"
    ):
        loaded([[0, 2]], processes)
    with pytest.raises(MemoryError):
        loaded([[1, 2]], processes)


@pytest.mark.parametrize("words", [KILLED, GONE])
def test_what_a_dead_process_had_begun(words: str):
    bench = Workbench(SAMPLES, collate, 2, 3)
    bench.notes[1, :3] = bench.notes.new_tensor([4321, 3, 0])
    bench.notes[0, 0] = 1234
    told = dead_process(RuntimeError(words.format(4321)))
    assert str(told).startswith(
        "a loader process died while it made a batch of x.json sample 3, x.json sample 0 (DataL"
    )
    assert "died between two batches" in str(dead_process(RuntimeError(words.format(1234))))
    assert "nobody knows over which samples" in str(dead_process(RuntimeError(words.format(os.getpid()))))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError(KILLED.format(1))])
def test_other_errors_are_none(error: Exception):
    assert dead_process(error) is None
