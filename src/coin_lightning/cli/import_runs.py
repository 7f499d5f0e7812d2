"""`python -m coin_lightning import coin FOLDER --out RUNS [--data ROOT]`: the runs that one has, as runs of ours.

Reads results of CoIN's code and its forks; needs no model and no GPU. Each run is read whole before it is written.
"""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from coin_lightning.cli.ending import ended, tell
from coin_lightning.cli.parsers import import_parser
from coin_lightning.errors import CoinLightningError
from coin_lightning.imports.coin import ImportedRun, Results
from coin_lightning.imports.run_folder import write_run
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.names import MISSING
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.terminal import matrix_table

COLUMNS = ("reference", "capitals", "corrected", "lost", "so lost", "won", "judge")
AT_MOST = "\u2264 "
LEGEND = (
    "reference: score by the published rule; capitals: points of answers that are the label but for capital letters; "
    "lost: answers that became wrong since the task's own training, so lost: of these by capital letters; won: the "
    "other way"
)


def import_coin(
    folder: Path,
    out: Path,
    data: Path | None,
    instructions: str,
    order: str | None,
    folders: Sequence[Path],
    console: Console,
) -> int:
    """Import every run below a folder and say what was found, and what was not.

    Args:
        folder: with the results. out: for the run folders.
        data, instructions, order, folders: see `Results`.
        console: for what is told.

    Returns:
        exit status, 1 where a run could not be imported; the others are.

    Raises:
        CoinLightningError: there is nothing that could be.
    """
    results = Results(folder, data, instructions, order, folders)
    refused = list[CoinLightningError]()
    for found in results.runs:
        try:
            run = results.read(found)
            path, is_new = write_run(run, out)
        except CoinLightningError as error:
            refused.append(error)
            continue
        if is_new or not (path / "report.html").is_file():
            write_report(path)
        _tell(run, path, is_new, console)
        if order is None and (words := _of_fewer_tasks(run)):
            _line(words, console, "yellow")
    for each in results.left_out:
        _line(f"{each}: means no known task and stage, left out", console, "yellow")
    for reason in refused:
        tell(reason)
    return 1 if refused else 0


def _tell(run: ImportedRun, path: Path, is_new: bool, console: Console) -> None:
    scored = sum(cell.is_scored for cell in run.cells.values())
    answers = sum(cell.scores is not None for cell in run.cells.values())
    what = f"{scored} cells, {answers} of them with their answers" + ("" if is_new else "; was there already")
    _line(f"\n{path}: {what}", console, "bold")
    console.print(matrix_table(load_matrix(path)))
    for line in run.findings:
        _line(line, console, "yellow")
    for task in dict.fromkeys(each.task for each in run.hidden):
        console.print(_table(run, task))
    if run.hidden:
        _line(LEGEND, console, "dim")
    _line(f"report {path / 'report.html'}", console)


def _of_fewer_tasks(run: ImportedRun) -> str:
    """What to do where tasks of the usual order have no results; empty where all have."""
    there = [task for task in run.order if any(column == task for _, column in run.cells)]
    if len(there) == len(run.order):
        return ""
    return (
        f"{len(run.order) - len(there)} of {len(run.order)} tasks have no results, so no metric over all tasks is "
        f"defined; if no others were learned, import anew, into another --out, with --order {','.join(there)}"
    )


def _table(run: ImportedRun, task: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(f"{run.title(task)} after", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for each in (each for each in run.hidden if each.task == task):
        flips = [MISSING if flip is None else str(flip) for flip in (each.lost, each.lost_in_capitals, each.won)]
        table.add_row(
            run.title(run.rows[each.position]),
            f"{each.reference:.2f}",
            f"{each.percent(each.capitals):+.2f}",
            f"{AT_MOST * each.at_most}{each.corrected:.2f}",
            *flips,
            MISSING if each.judged is None else f"{each.judged:.0f}",
        )
    return table


def _line(text: str, console: Console, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 with an explanation when nothing could be imported."""
    options = import_parser().parse_args(arguments)
    return ended(
        lambda interruption: import_coin(
            options.folder, options.out, options.data, options.instructions, options.order, options.folders, Console()
        )
    )
