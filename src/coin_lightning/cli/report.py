"""``python -m coin_lightning report RUN [RUN ...] [bounds.joint=RUN] [--baseline NAME]``: re-make the page of a run, or
compare several.

Reads artefacts only: no model, no data set and no GPU is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from coin_lightning.cli.averaging import check_averages, untold_differences
from coin_lightning.cli.ending import ended
from coin_lightning.cli.pairs import pairs
from coin_lightning.cli.parsers import report_parser
from coin_lightning.continual.bounds import find_bounds
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import read_records
from coin_lightning.reporting.compared import Compared, compare, same_tasks
from coin_lightning.reporting.comparison import write_comparison
from coin_lightning.reporting.comparison_words import comparison_words
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.overview import alike, comparison_table, in_order, metric_keys
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.terminal import final_summary

BOUNDS = "bounds."


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 with an explanation when a run cannot be read."""
    options = report_parser().parse_args(arguments)
    allowed = tuple(filter(None, (name.strip() for name in options.allow.split(","))))
    how = Comparing(options.output, options.baseline, allowed, options.records)
    return ended(lambda interruption: report(*split(options.runs), how, Console()))


@dataclass(frozen=True)
class Comparing:
    """How runs are compared: into which folder, against which baseline, over which differences they are averaged all
    the same, and whether their answers are read."""

    folder: Path
    baseline: str | None = None
    allowed: tuple[str, ...] = ()
    records: bool = True


def split(words: Sequence[str]) -> tuple[list[Path], dict[str, Any]]:
    """Runs, and bounds by kind, out of the words of the command line."""
    given = pairs(word.removeprefix(BOUNDS) for word in words if word.startswith(BOUNDS))
    bounds = {kind: yaml.safe_load(value) for kind, value in given.items()}
    return [Path(word) for word in words if not word.startswith(BOUNDS)], bounds


def report(runs: Sequence[Path], bounds: Mapping[str, Any], how: Comparing, console: Console) -> None:
    """Make the page of one run, or a comparison of several.

    Args:
        runs: folders.
        bounds: by kind the folders of runs that bound the one run; see `find_bounds`.
        how: several are compared.
        console: for the tables.

    Raises:
        CoinLightningError: a run cannot be read, or bounds were given that are none; or answers of the one run are
            damaged, behind its page, which can do without.
    """
    if bounds and len(runs) != 1:
        raise ConfigError(f"{BOUNDS}*: {len(runs)} runs are given; bounds are those of one run")
    if len(runs) == 1 and (how.baseline is not None or how.allowed):
        raise ConfigError("--baseline and --allow compare runs; one is given")
    if bounds:
        add_bounds(RunDir.open(runs[0]), bounds)
    if len(runs) == 1:
        _report(console, runs[0])
    else:
        _compare(console, [load_matrix(run) for run in runs], how)


def add_bounds(run: RunDir, bounds: Mapping[str, Any]) -> None:
    """Write the bounds of a run, and the metrics that they define, into its `matrix.json` and `metrics.json`.

    Raises:
        CoinLightningError: another process works on the run, or the bounds are none of it; then nothing is changed.
    """
    with run.working(alone=True):
        run.refresh(bounds=find_bounds(run, bounds, run.facts()))


def _report(console: Console, run: Path) -> None:
    write_report(run)
    console.print(final_summary(run))
    refuse_damaged_records(run)


def refuse_damaged_records(run: Path) -> None:
    """Say behind a page what it lacks: whoever reads it later may not look.

    Raises:
        DataError: with all that is wrong with the answers of a run, file by file.
    """
    problems: list[str] = []
    for file in sorted(run.glob("task_*/records/*.jsonl")):
        try:
            read_records(file)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)


def _compare(console: Console, runs: Sequence[RunMatrix], how: Comparing) -> None:
    for members in same_tasks(runs):
        check_averages(alike(members, how.allowed), how.allowed)
    compared = [_with_notes(each) for each in compare(runs, how.baseline, how.allowed, how.records)]
    files = write_comparison(compared, how.folder)
    for each in compared:
        for order in each.orders:
            groups = in_order(each.groups, order)
            console.print(" > ".join(groups[0].runs[0].title(task) for task in order), style="bold")
            if metric_keys(groups):  # else a note says why there are none
                console.print(comparison_table(groups))
        for line in comparison_words(each):
            console.print(line)
    for file in files:
        console.print(str(file), soft_wrap=True)


def _with_notes(compared: Compared) -> Compared:
    lines = untold_differences(compared.groups)
    note = f"The groups also differ in what no field of the protocol tells: {'; '.join(lines)}."
    return replace(compared, notes=[*compared.notes, note]) if lines else compared
