"""Runs one below the other for the terminal: state, what differs, what they scored, what they cost."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.names import MISSING, bytes_size, duration
from coin_lightning.results import Entry

STYLES = {"finished": "green", "failed": "red", "foreign": "red", "working": "cyan", "stopped": "yellow"}
METRICS = {"acc": "ACC", "bwt": "BWT", "forgetting": "forgetting"}
SHOWN = 24
"""Characters of a value."""


def runs_table(rows: Sequence[Entry], differing: Sequence[str]) -> Table:
    """Rich table.

    Args:
        rows: the runs.
        differing: config keys that get a column, headed by the shortest end of the key that no other one has.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    place = _common(rows)
    table.add_column(f"run, below {place}" if place else "run", overflow="fold")
    table.add_column("state")
    table.add_column("seed", justify="right")
    for head in short_keys(differing):
        table.add_column(head, justify="right")
    for head in METRICS.values():
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("disk", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, differing, place))
    return table


def short_keys(keys: Sequence[str]) -> list[str]:
    """The last words of dotted keys, as many as tell them apart: `rank`, `optimizer.lr`."""
    found = []
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-size:]) for size in range(1, len(parts) + 1)]
        found.append(next(end for end in ends if sum(other == end or other.endswith(f".{end}") for other in keys) == 1))
    return found


def _cells(row: Entry, differing: Sequence[str], common: str) -> list[str]:
    state = (
        row.state if row.state in ("finished", "foreign") else f"{row.state}, {row.done}/{row.of} {row.where}".strip()
    )
    values = [_value(row.config[key]) if key in row.config else MISSING for key in differing]
    metrics = [explain(key).show(row.metric(key)) for key in METRICS]
    seed = MISSING if row.matrix is None else str(row.matrix.seed)
    time = duration(row.seconds) if row.seconds else MISSING
    name = str(row.path.relative_to(common)) if common else str(row.path)
    return [name, f"[{STYLES[row.state]}]{state}[/]", seed, *values, *metrics, time, bytes_size(row.bytes)]


def _value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "\u2026"


def _common(rows: Sequence[Entry]) -> str:
    """The folder that all runs are in; empty for one run."""
    if len(rows) < 2:
        return ""
    first, *others = (str(row.path).split("/")[:-1] for row in rows)
    size = 0
    while size < len(first) and all(len(other) > size and other[size] == first[size] for other in others):
        size += 1
    return "/".join(first[:size])
