"""``python -m coin_lightning.cli.report RUN [RUN ...]``: re-make the page of a run, or compare several.

Reads artefacts only: no model, no data set and no GPU is needed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from coin_lightning.errors import CoinLightningError
from coin_lightning.reporting.comparison import split_by_tasks, write_comparison
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.names import title
from coin_lightning.reporting.overview import comparison_table
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.terminal import final_summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 with one line of explanation when a run cannot be read."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        if len(options.runs) == 1:
            _report(console, options.runs[0])
        else:
            _compare(console, [load_matrix(run) for run in options.runs], options.output)
    except CoinLightningError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _report(console: Console, run: Path) -> None:
    write_report(run)
    console.print(final_summary(run))


def _compare(console: Console, runs: Sequence[RunMatrix], folder: Path) -> None:
    for members in split_by_tasks(runs):
        console.print(" > ".join(title(task) for task in members[0].tasks), style="bold")
        console.print(comparison_table(members))
    for file in write_comparison(runs, folder):
        console.print(str(file), soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m coin_lightning.cli.report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder (or its matrix.json)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("comparison"), help="folder for comparison.html and its figures"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
