"""``python -m coin_lightning report RUN [RUN ...]``: re-make the page of a run, or compare several.

Reads artefacts only: no model, no data set and no GPU is needed.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from coin_lightning.cli.ending import ended
from coin_lightning.cli.parsers import report_parser
from coin_lightning.reporting.comparison import split_by_tasks, write_comparison
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.overview import comparison_table
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.terminal import final_summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 with an explanation when a run cannot be read."""
    options = report_parser().parse_args(arguments)
    return ended(lambda interruption: report(options.runs, options.output, Console()))


def report(runs: Sequence[Path], folder: Path, console: Console) -> None:
    """Make the page of one run, or a comparison of several in `folder`.

    Raises:
        CoinLightningError: a run cannot be read.
    """
    if len(runs) == 1:
        _report(console, runs[0])
    else:
        _compare(console, [load_matrix(run) for run in runs], folder)


def _report(console: Console, run: Path) -> None:
    write_report(run)
    console.print(final_summary(run))


def _compare(console: Console, runs: Sequence[RunMatrix], folder: Path) -> None:
    for members in split_by_tasks(runs):
        console.print(" > ".join(members[0].title(task) for task in members[0].tasks), style="bold")
        console.print(comparison_table(members))
    for file in write_comparison(runs, folder):
        console.print(str(file), soft_wrap=True)
