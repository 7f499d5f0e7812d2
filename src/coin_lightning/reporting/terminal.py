"""What the terminal shows, as rich renderables: readable without colour and at 80 columns."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coin_lightning.reporting.glossary import JUDGE, paired
from coin_lightning.reporting.names import duration, percent, seed_text, signed
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.run_matrix import RunMatrix

BETWEEN = {"sequence": " > ", "joint": " + ", "nothing": ", "}
VISIBLE_CHANGE = 0.5  # points; a smaller change is printed plain


def matrix_table(matrix: RunMatrix, highlight_row: int | None = None) -> Table:
    """The score matrix, green for gain and red for loss, with a line of changes under the highlighted row.

    Changes are against the score right after the task's own training, before that against zero-shot. Rows that are not
    finished are left out; cells that were not evaluated are dots. Below zero-shot stands what the best constant answer
    gives, or chance where there are choices and that is more.

    Args:
        matrix: scores in percent.
        highlight_row: 0 for zero-shot, k for the row after task k; default the last finished one.
    """
    row = matrix.last if highlight_row is None else highlight_row
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("after", no_wrap=True)
    for task in matrix.tasks:
        table.add_column(matrix.short(task), justify="right", no_wrap=True, min_width=5)
    change = matrix.change()
    for k in matrix.filled:
        cells = [_cell(matrix, change, k, i) for i in range(len(matrix.tasks))]
        table.add_row(matrix.title(matrix.rows[k]), *cells, style="bold" if k == row else "")
        if k == 0 and matrix.guesses:
            table.add_row(Text("  guessing", style="dim"), *(_guess(matrix.guess(task)) for task in matrix.tasks))
        if k == row and k > 0:
            table.add_row(Text("  change", style="dim"), *(_change(change[k, i]) for i in range(len(matrix.tasks))))
    return table


def metrics_panel(metrics: Mapping[str, float | None], headline: str = "bwt") -> RenderableType:
    """Every metric that is defined, by the rules and by the run's judge; undefined ones are named in one line below.

    Args:
        metrics: by key.
        headline: the backward transfer of the run's protocol, in bold; the other one stays below it.
    """
    judged = any(key.startswith(JUDGE) for key in metrics)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("metric")
    for column in ("by rules", "by judge") if judged else ("value",):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    entries = sorted(paired(dict(metrics)), key=lambda entry: _place(entry[0], headline))
    for key, info, value, by_judge in entries:
        if value is not None or by_judge is not None:
            numbers = [info.show(value), info.show(by_judge)] if judged else [info.show(value)]
            hint = info.better and f"{info.better} is better"
            table.add_row(info.label, *numbers, hint, style="bold" if key in ("acc", headline) else "")
    missing = [info.label for _, info, value, by_judge in entries if value is None and by_judge is None]
    note = Text("not defined for this matrix: " + ", ".join(missing) + "\n", style="dim") if missing else Text()
    return Group(table, note) if table.row_count else note


def _place(key: str, headline: str) -> int:
    """Of the two backward transfers the headline comes first, in front of everything but the accuracy."""
    return 0 if key == "acc" else 1 if key == headline else 2


def run_header(
    experiment: str,
    method: str,
    backbone: str,
    seed: int | None,
    tasks: tuple[str, ...] | list[str],
    run_dir: Path | str,
    notes: tuple[str, ...] | list[str] = (),
    training: str = "sequence",
) -> RenderableType:
    """What is about to run: titles, order of the tasks, folder, and what to keep in mind about the numbers.

    Tasks of a sequence are printed as `a > b`, those learned at once as `a + b`, those only asked as `a, b`.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("experiment", Text(f"{experiment}: {method} on {backbone}, seed {seed_text(seed)}", style="bold"))
    table.add_row("tasks", Text(BETWEEN[training].join(tasks)))
    table.add_row("run folder", Text(str(run_dir)))
    for note in notes:
        table.add_row("note", Text(note))
    return Padding(table, (1, 0))


def final_summary(run_dir: Path | str) -> RenderableType:
    """Everything worth seeing when a run ends: matrix, metrics, time, and where the page is.

    Raises:
        RunError: the run folder is missing or garbled.
    """
    run = load_run(run_dir)
    matrix = run.matrix
    training = sum(cost.seconds for cost in run.training.values())
    evaluation = sum(cost.seconds for cost in run.evaluation.values())
    report = run.path / "report.html"
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    if not matrix.imported:
        lines.add_row("time", f"training {duration(training)}, evaluation {duration(evaluation)}")
    lines.add_row("report", Text(str(report), style=f"bold link file://{report.resolve()}"))
    lines.add_row("matrix", Text(str(run.path / "matrix.json")))
    names, titles = (matrix.experiment, matrix.method_title, matrix.backbone), [*map(matrix.title, matrix.tasks)]
    header = run_header(*names, matrix.seed, titles, run.path, matrix.notes, matrix.training)
    metrics = metrics_panel(matrix.metrics, matrix.headline_bwt)
    return Group(header, matrix_table(matrix), *_judged(matrix), metrics, lines)


def _judged(matrix: RunMatrix) -> Iterator[RenderableType]:
    """The matrix of each judge under its name."""
    for name in matrix.judges:
        yield Text(f"general knowledge, by judge {name}", style="bold")
        yield matrix_table(matrix.judged(name))


def _cell(matrix: RunMatrix, change: np.ndarray, row: int, column: int) -> Text:
    value = matrix.scores[row, column]
    if np.isnan(value):
        return Text("·", style="dim")
    style = "underline " if matrix.is_own(row, column) else ""
    return Text(percent(value), style=(style + _color(change[row, column])).strip())


def _guess(value: float) -> Text:
    return Text("·" if np.isnan(value) else percent(value), style="dim")


def _change(value: float) -> Text:
    return Text("·", style="dim") if np.isnan(value) else Text(signed(value), style=_color(value))


def _color(change: float) -> str:
    if np.isnan(change) or abs(change) < VISIBLE_CHANGE:
        return ""
    return "green" if change > 0 else "red"
