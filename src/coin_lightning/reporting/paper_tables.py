"""Several runs as tables for papers: Markdown, LaTeX (booktabs), CSV; a row per method, mean and spread over seeds."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.names import MINUS, MISSING
from coin_lightning.reporting.overview import MethodGroup, mean_and_spread, metric_keys, share
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.whole_files import write_text

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "\u2192": r"$\to$", MINUS: "$-$", "\u00d7": r"$\times$",
    "\u00b1": r"$\pm$",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip
"""Characters that mean something to LaTeX."""
PLUS_MINUS = r"\pm "


@dataclass(frozen=True)
class Cell:
    """Mean over seeds, standard deviation (n - 1; NaN for one seed) and seeds; `text` of the mean as people read it.

    `low` and `high` are the ends of an interval, where there is one; `decimals` are those of the deviation; `behind` is
    what readers must know of the mean.
    """

    mean: float
    deviation: float
    seeds: int
    text: str
    low: float = np.nan
    high: float = np.nan
    decimals: int = 1
    behind: str = ""

    @property
    def interval(self) -> str:
        """Ends of the interval in brackets; empty without one."""
        return "" if np.isnan(self.low) else f"[{plain(self.low)}, {plain(self.high)}]"

    @property
    def shown(self) -> str:
        """Mean with its deviation or its interval."""
        if self.text == MISSING:
            return MISSING
        if self.interval:
            return f"{self.text} {self.interval}"
        spread = "" if np.isnan(self.deviation) else f" ±{self.deviation:.{self.decimals}f}"
        return self.text + spread + self.behind


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


def paper_tables(groups: Sequence[MethodGroup]) -> list[PaperTable]:
    """Metrics by method, if any is defined; score of each task right after its own training; and at the end.

    Args:
        groups: runs of the same tasks in the same order.
    """
    first = groups[0].runs[0]
    keys, names = metric_keys(groups), [first.title(task) for task in first.tasks]
    metrics = [(label(group), [_metric(group, key) for key in keys]) for group in groups]
    return [
        *([PaperTable("Metrics", ["method", *(explain(key).label for key in keys)], metrics)] if keys else []),
        _scores("Score right after its own training", groups, names, lambda run: run.immediate),
        _scores("Score at the end", groups, names, at_the_end),
    ]


def at_the_end(run: RunMatrix) -> np.ndarray:
    """[T] scores behind all tasks; NaN for a run that has not come so far: where it stands is no end."""
    return run.final if run.is_complete else np.full(len(run.tasks), np.nan)


def label(group: MethodGroup) -> str:
    """Name of the row of a group."""
    return f"{group.label} ({group.seeds})"


def plain(value: float) -> str:
    """One decimal, a true minus, nothing below zero that is zero."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", MINUS)


def _metric(group: MethodGroup, key: str) -> Cell:
    mean, deviation, known = group.metric(key)
    info = explain(key)
    behind = share(known, len(group.runs))
    return Cell(mean, deviation, known, info.show(mean), decimals=info.decimals, behind=behind)


def _scores(
    title: str, groups: Sequence[MethodGroup], names: Sequence[str], of: Callable[[RunMatrix], np.ndarray]
) -> PaperTable:
    rows = []
    for group in groups:
        scores = np.stack([of(run) for run in group.runs])  # [S, T]
        scores = np.column_stack([scores, scores.mean(axis=1)])
        rows.append((label(group), [cell(column) for column in scores.T]))
    return PaperTable(title, ["method", *names, "Mean"], rows)


def cell(values: np.ndarray) -> Cell:
    """Mean and deviation of values [S] over seeds; none where one of them is NaN."""
    known = values[~np.isnan(values)]
    if len(known) < len(values):  # a mean over some of the seeds would not say so
        return Cell(np.nan, np.nan, len(known), MISSING)
    (mean,), (deviation,) = mean_and_spread(known[:, None])
    return Cell(float(mean), float(deviation), len(known), plain(mean))


def as_markdown(tables: Sequence[PaperTable]) -> str:
    """GitHub's tables, one below the other."""
    return "\n".join(line for table in tables for line in _markdown(table))


def _markdown(table: PaperTable) -> list[str]:
    rule = "|".join(["", "---", *["---:"] * (len(table.heads) - 1), ""])
    rows = [[name, *(each.shown for each in cells)] for name, cells in table.rows]
    lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in [table.heads, *rows]]
    return [f"**{table.title}**", "", lines[0], rule, *lines[1:], ""]


def as_latex(tables: Sequence[PaperTable]) -> str:
    r"""`tabular` environments for the booktabs package (`\usepackage{booktabs}`), one below the other."""
    return "\n".join(line for table in tables for line in _latex(table))


def _latex(table: PaperTable) -> list[str]:
    heads = " & ".join(map(escaped, table.heads))
    rows = [
        " & ".join([escaped(name), *(_in_math(each.shown) for each in cells)]) + r" \\" for name, cells in table.rows
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
    number, *behind = text.split(" (")
    math = f"${number.replace(MINUS, '-').replace('±', PLUS_MINUS)}$"
    return "--" if text == MISSING else " (".join([math, *behind])


def as_csv(tables: Sequence[PaperTable]) -> str:
    """A line per cell: table, method, column, mean, deviation, seeds, ends of the interval; full precision, empty where
    there is none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["table", "method", "column", "mean", "standard_deviation", "seeds", "low", "high"])
    for table in tables:
        for name, cells in table.rows:
            for head, each in zip(table.heads[1:], cells, strict=True):
                numbers = (each.mean, each.deviation, each.low, each.high)
                mean, deviation, *interval = ["" if np.isnan(value) else repr(float(value)) for value in numbers]
                writer.writerow([table.title, name, head, mean, deviation, each.seeds, *interval])
    return stream.getvalue()


def write_tables(tables: Sequence[PaperTable], stem: Path) -> list[Path]:
    """Write `<stem>.md`, `<stem>.tex` and `<stem>.csv`; returns them."""
    made = {".md": as_markdown(tables), ".tex": as_latex(tables), ".csv": as_csv(tables)}
    files = [stem.with_name(stem.name + ending) for ending in made]
    for file, text in zip(files, made.values(), strict=True):
        write_text(file, text)
    return files
