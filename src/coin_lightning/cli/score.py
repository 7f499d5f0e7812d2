"""`python -m coin_lightning score RUN [evaluation.scorers=VARIANT]`: score the kept answers of a run again.

Needs no model, no data set and no GPU. All variants of every task's scorers are computed; `evaluation.scorers` says
which one is printed and written to `RUN/rescored/<variant>/`. The variant that the run itself uses stays what it is.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from coin_lightning.cli.ending import ended
from coin_lightning.cli.pairs import pairs
from coin_lightning.cli.parsers import score_parser
from coin_lightning.continual.rescoring import (
    CHANGES,
    DIFFERENCES,
    FOLDER,
    Rescored,
    replacing,
    rescore,
    write_differences,
    write_variant,
)
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.run_scoring import newest_scoring
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.side_by_side import CellScores, SampleDifference, in_order, variant_table
from coin_lightning.metrics.score_matrix import row_names
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.names import signed
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.side_by_side import differences_table, side_by_side_table
from coin_lightning.reporting.terminal import matrix_table

KEY = "evaluation.scorers"
PER_TASK = 2
"""Differing samples that are printed for each task."""


def score(path: Path, overrides: Sequence[str], console: Console, folders: Sequence[Path] = ()) -> None:
    """Score again, bring `scores.json`, `matrix.json` and the page up to date, and print what was found.

    Args:
        path: the run folder.
        overrides: words of the command line.
        console: for the tables.
        folders: config folders with yaml of tasks; see `newest_scoring`.

    Raises:
        CoinLightningError: no such run, another process works on it, or records that cannot be used; then nothing is
            changed.
    """
    asked = asked_variant(overrides)
    run = RunDir.open(path)
    with run.working():
        variant = asked or run.variant
        _check_variant(run, variant, folders)
        found, examples = _rescore(run, variant, folders)
        run.refresh()
        folder = write_variant(run, found, variant, run.facts())
        write_report(run.path)
    _print(console, run, folder, found, examples)


def asked_variant(overrides: Sequence[str]) -> str | None:
    """The variant that the command line names; None when it names none.

    Raises:
        ConfigError: an override of something else.
    """
    given = pairs(overrides)
    for key, value in given.items():
        if key != KEY or not value:
            raise ConfigError(f"{key}={value}: only {KEY}=VARIANT can be set; the answers are what they are")
    return given.get(KEY)


Examples = list[tuple[str, SampleDifference]]


def _check_variant(run: RunDir, variant: str, folders: Sequence[Path]) -> None:
    """Refuse a variant that no task of the run has."""
    nodes = newest_scoring(run.path, run.tasks, folders)
    known = in_order(Scoring.of(task, nodes[task]).scorers for task in run.tasks)
    if variant not in known:
        raise ConfigError(f"{KEY}={variant}: no task of the run has this scorer variant; there are {', '.join(known)}")


def _rescore(run: RunDir, variant: str, folders: Sequence[Path]) -> tuple[Rescored, Examples]:
    """New scores, and the first differing samples of the last experience; all of them go into `differences.jsonl`."""
    examples: dict[int, Examples] = {}

    with replacing(run.path / FOLDER / variant / DIFFERENCES) as stream:

        def report(position: int, task: str, cell: CellScores) -> None:
            write_differences(stream, position, task, cell)
            examples.setdefault(position, []).extend((task, sample) for sample in cell.differences[:PER_TASK])

        found = rescore(run, report, folders)
    return found, examples.get(max(found.scores), [])


def _print(console: Console, run: RunDir, folder: Path, found: Rescored, examples: Examples) -> None:
    last, matrix = max(found.scores), load_matrix(run.path)
    differing = sum(sum(scores["differing"].values()) for scores in found.scores.values())
    answers = sum(sum(scores["counts"].values()) for scores in found.scores.values())
    heading = f"\nscores of {run.path} by the {folder.name} scorers, in percent"
    console.print(heading, style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print(matrix_table(load_matrix(folder)))
    console.print(
        f"all variants after {matrix.title(row_names(run.tasks, run.training)[last])}", style="bold", markup=False
    )
    console.print(side_by_side_table(variant_table(found.scores[last], run.tasks), matrix.title))
    if examples:
        console.print(f"first samples on which they differ (at most {PER_TASK} per task)", style="bold")
        console.print(differences_table(examples, matrix.title))
    lines = [
        f"{differing} of {answers} answers of the run score differently: {folder / DIFFERENCES}",
        *_changes(found, matrix),
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _changes(found: Rescored, matrix: RunMatrix) -> list[str]:
    """What the rules of today make of it that those of the run's day did not."""
    if not found.changes:
        return []
    lines = [
        f"  experience {change.experience}, {matrix.title(change.task)}, {change.variant}: {change.before:.2f} -> "
        f"{change.after:.2f} ({signed(change.after - change.before)}){_versions(*change.versions)}"
        for change in found.changes
    ]
    return [f"the rules have changed since the run was scored (kept in {FOLDER}/{CHANGES}):", *lines]


def _versions(before: int, after: int) -> str:
    return "" if before == after else f", version {before} -> {after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 with an explanation when the run cannot be scored."""
    options = score_parser().parse_args(arguments)
    return ended(lambda interruption: score(options.run, options.overrides, Console(), options.folders))
