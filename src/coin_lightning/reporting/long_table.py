"""Everything that a comparison knows as one long table: a record for each value, for other programs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from coin_lightning.metrics.flips import Flips
from coin_lightning.reporting.flip_tables import RunFlips, run_flips
from coin_lightning.reporting.overview import MethodGroup
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.sample_scores import SampleReader, with_records
from coin_lightning.whole_files import taking_place_of

COLUMNS = {
    "run": "string", "method": "string", "group": "string", "backbone": "string", "seed": "int64", "order": "string",
    "position": "int64", "task": "string", "metric": "string", "value": "float64",
}  # fmt: skip
Value = tuple[int, str | None, str, float]
"""Position, task (None for a metric over tasks), metric, value."""


def write_parquet(groups: Sequence[MethodGroup], read: SampleReader | None, file: Path) -> Path:
    """Write `file` with the columns of `COLUMNS`: scores and counts of every cell, flips of every learned task, and the
    metrics of each run, whose `task` is null.

    Positions: 0 is zero-shot, k is after the k-th experience. Flips are percent of a task's test samples, at a position
    against the one before it; those named `..._since_learned` against the task's own training.

    Args:
        groups: of all runs.
        read: of the records; None leaves out the flips.
        file: where to write.

    Raises:
        RunError, DataError: as `SampleReader`.
    """
    import pyarrow as pa  # imported where it is used: other pages do without
    import pyarrow.parquet as pq

    records = [
        (str(run.folder or run.experiment), run.method, group.label, run.backbone, run.seed, " > ".join(run.tasks),
         *value)
        for group in groups for run in group.runs for value in _values(run, read)
    ]  # fmt: skip
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    columns = zip(*records, strict=True) if records else ((),) * len(COLUMNS)
    with taking_place_of(file) as scratch:
        pq.write_table(pa.table([list(column) for column in columns], schema=schema), scratch)
    return file


def _values(run: RunMatrix, read: SampleReader | None) -> Iterator[Value]:
    for position, column in np.argwhere(~np.isnan(run.scores)):
        task = run.tasks[column]
        yield int(position), task, "score", float(run.scores[position, column])
        if count := run.counts[position, column]:  # of imported scores it may be unknown
            yield int(position), task, "count", float(count)
    if read is not None and with_records(run):
        yield from _flips(run, run_flips(run, read))
    yield from ((run.last, None, key, float(value)) for key, value in run.metrics.items() if value is not None)


def _flips(run: RunMatrix, found: RunFlips) -> Iterator[Value]:
    for (row, column), each in found.steps.items():
        yield from _named(row, run.tasks[column], each, "")
    for column, each in found.whole.items():
        yield from _named(run.last, run.tasks[column], each, "_since_learned")


def _named(position: int, task: str, each: Flips, ending: str) -> Iterator[Value]:
    values = {"right_to_wrong": each.lost, "wrong_to_right": each.gained, "flips_by_chance": each.chance}
    for name, value in values.items():
        if value is not None:
            yield position, task, name + ending, value
