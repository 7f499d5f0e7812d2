"""Several runs as tables for papers: Markdown, LaTeX (booktabs), CSV; a row per method, mean and spread over seeds."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.names import MISSING
from coin_lightning.reporting.overview import MethodGroup, group_by_method, mean_and_spread, metric_keys
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.whole_files import write_text

SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"
}
"""Characters that mean something to LaTeX."""


@dataclass(frozen=True)
class Cell:
    """Mean over seeds, standard deviation (n - 1; NaN for one seed) and seeds; `text` of the mean as people read it."""

    mean: float
    deviation: float
    seeds: int
    text: str


@dataclass(frozen=True)
class PaperTable:
    """A table.

    Attributes:
        title: what it shows. heads: of the columns, the first of the methods.
        rows: label, and a cell for each further column.
    """

    title: str
    heads: list[str]
    rows: list[tuple[str, list[Cell]]]


def paper_tables(runs: Sequence[RunMatrix]) -> list[PaperTable]:
    """Metrics by method; score of each task right after its own training; and at the end.

    Args:
        runs: of the same tasks in the same order.

    Raises:
        RunError: two runs of a method have one seed.
    """
    groups, tasks = group_by_method(runs), runs[0].tasks
    keys = metric_keys(runs)
    names = [runs[0].title(task) for task in tasks]
    metrics = [(_label(group), [_metric(group, key) for key in keys]) for group in groups]
    return [
        PaperTable("Metrics", ["method", *(explain(key).label for key in keys)], metrics),
        _scores("Score right after its own training", groups, names, lambda run: run.immediate),
        _scores("Score at the end", groups, names, lambda run: run.final),
    ]


def _label(group: MethodGroup) -> str:
    seeds = len(group.runs)
    return f"{group.label} ({seeds} seed{'s' if seeds > 1 else ''})"


def _metric(group: MethodGroup, key: str) -> Cell:
    mean, deviation, seeds = group.metric(key)
    return Cell(mean, deviation, seeds, explain(key).show(mean))


def _scores(
    title: str, groups: Sequence[MethodGroup], names: Sequence[str], of: Callable[[RunMatrix], np.ndarray]
) -> PaperTable:
    rows = []
    for group in groups:
        scores = np.stack([of(run) for run in group.runs])  # [S, T]
        scores = np.column_stack([scores, scores.mean(axis=1)])
        rows.append((_label(group), [_cell(column) for column in scores.T]))
    return PaperTable(title, ["method", *names, "Mean"], rows)


def _cell(values: np.ndarray) -> Cell:
    known = values[~np.isnan(values)]
    if len(known) < len(values):  # a mean over some of the seeds would not say so
        return Cell(np.nan, np.nan, len(known), MISSING)
    (mean,), (deviation,) = mean_and_spread(known[:, None])
    return Cell(float(mean), float(deviation), len(known), f"{mean:.1f}")


def as_markdown(tables: Sequence[PaperTable]) -> str:
    """GitHub's tables, one below the other."""
    return "\n".join(line for table in tables for line in _markdown(table))


def _markdown(table: PaperTable) -> list[str]:
    rule = "|".join(["", "---", *["---:"] * (len(table.heads) - 1), ""])
    rows = [[label, *(_spread(cell, " ±") for cell in cells)] for label, cells in table.rows]
    lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in [table.heads, *rows]]
    return [f"**{table.title}**", "", lines[0], rule, *lines[1:], ""]


def as_latex(tables: Sequence[PaperTable]) -> str:
    r"""`tabular` environments for the booktabs package (`\usepackage{booktabs}`), one below the other."""
    return "\n".join(line for table in tables for line in _latex(table))


def _latex(table: PaperTable) -> list[str]:
    heads = " & ".join(map(escaped, table.heads))
    rows = [
        " & ".join([escaped(label), *(_in_math(_spread(cell, r" \pm ")) for cell in cells)]) + r" \\"
        for label, cells in table.rows
    ]
    columns = "l" + "r" * (len(table.heads) - 1)
    return [
        f"% {table.title}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{heads} \\", r"\midrule", *rows,
        r"\bottomrule", r"\end{tabular}", "",
    ]  # fmt: skip


def escaped(text: str) -> str:
    """Plain text for LaTeX."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _in_math(text: str) -> str:
    return "--" if text == MISSING else f"${text.replace(chr(0x2212), '-')}$"


def _spread(cell: Cell, sign: str) -> str:
    return cell.text if np.isnan(cell.deviation) or cell.text == MISSING else f"{cell.text}{sign}{cell.deviation:.1f}"


def as_csv(tables: Sequence[PaperTable]) -> str:
    """A line per cell: table, method, column, mean, deviation, seeds; full precision, empty where there is none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["table", "method", "column", "mean", "standard_deviation", "seeds"])
    for table in tables:
        for label, cells in table.rows:
            for head, cell in zip(table.heads[1:], cells, strict=True):
                numbers = ["" if np.isnan(number) else repr(float(number)) for number in (cell.mean, cell.deviation)]
                writer.writerow([table.title, label, head, *numbers, cell.seeds])
    return stream.getvalue()


def write_tables(runs: Sequence[RunMatrix], stem: Path) -> list[Path]:
    """Write `<stem>.md`, `<stem>.tex` and `<stem>.csv`; returns them.

    Raises:
        RunError: as `paper_tables`.
    """
    tables = paper_tables(runs)
    made = {".md": as_markdown(tables), ".tex": as_latex(tables), ".csv": as_csv(tables)}
    files = [stem.with_name(stem.name + ending) for ending in made]
    for file, text in zip(files, made.values(), strict=True):
        write_text(file, text)
    return files
