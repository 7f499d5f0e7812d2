"""Runs one below the other for the terminal: state, what differs, what they scored, what they cost."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.names import MISSING, bytes_size, duration
from coin_lightning.results import Entry, differing

STYLES = {
    "finished": "green", "failed": "red", "foreign": "red", "working": "cyan", "stopped": "yellow", "imported": "blue",
    "ended early": "yellow",
}  # fmt: skip
METRICS = {"acc": "ACC", "bwt": "BWT", "forgetting": "forgot"}
SHOWN = 24
"""Characters of a value."""


def runs_table(rows: Sequence[Entry], keys: Sequence[str]) -> Table:
    """Rich table.

    Args:
        rows: the runs.
        keys: config keys that get a column, headed by the shortest end of the key that no other one has.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column("seed", justify="right", no_wrap=True, min_width=len("seed"))
    for head in short_keys(keys):
        table.add_column(head, justify="right", no_wrap=True)
    for head in METRICS.values():
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("disk", justify="right", no_wrap=True)
    for number, row in enumerate(rows, start=1):
        table.add_row(str(number), *_cells(row, keys))
    return table


def show(rows: Sequence[Entry], console: Console) -> None:
    """The table; below it the folders by number, which are too long for a column, and why runs failed or were ended."""
    console.print(runs_table(rows, differing(rows)))
    for number, row in enumerate(rows, start=1):
        console.print(f"{number:3}  {row.path}", markup=False, highlight=False, soft_wrap=True)
    for row in rows:
        if row.reason:
            text = f"{row.path}: {row.reason}"
            console.print(text, style=STYLES[row.state], markup=False, highlight=False, soft_wrap=True)


def short_keys(keys: Sequence[str]) -> list[str]:
    """The last words of dotted keys, as many as tell them apart: `rank`, `optimizer.lr`."""
    found = []
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-size:]) for size in range(1, len(parts) + 1)]
        found.append(next(end for end in ends if sum(other == end or other.endswith(f".{end}") for other in keys) == 1))
    return found


def _cells(row: Entry, keys: Sequence[str]) -> list[str]:
    state = (
        row.state if row.state in ("finished", "foreign") else f"{row.state}, {row.done}/{row.of} {row.where}".strip()
    )
    values = [_value(row.config[key]) if key in row.config else MISSING for key in keys]
    metrics = [explain(key).show(row.metric(key)) for key in METRICS]
    seed = MISSING if row.matrix is None or row.matrix.seed is None else str(row.matrix.seed)
    time = duration(row.seconds) if row.seconds else MISSING
    return [f"[{STYLES[row.state]}]{state}[/]", seed, *values, *metrics, time, bytes_size(row.bytes)]


def _value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "\u2026"
