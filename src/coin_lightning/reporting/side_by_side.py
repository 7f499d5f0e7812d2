"""Tables of both scoring variants next to each other, for the terminal."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from coin_lightning.evaluation.side_by_side import RowDifference, VariantRow
from coin_lightning.reporting.names import MISSING, percent, signed, title

SHOWN_CHARACTERS = 40


def side_by_side_table(rows: Sequence[VariantRow]) -> Table:
    """Task, percent by the corrected and by the reference rule, their difference in points, and differing rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("task", no_wrap=True)
    for column in ("corrected", "reference", "difference", "differing rows"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        counts = MISSING if row.differing is None else f"{row.differing} of {row.count}"
        numbers = percent(row.corrected), percent(row.reference), signed(row.difference)
        table.add_row(title(row.task), *numbers, counts, style="dim" if row.differing == 0 else "")
    return table


def differences_table(rows: Iterable[tuple[str, RowDifference]]) -> Table:
    """Rows that the variants score differently: task and row, with both scores (0 to 1)."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("task", "question", "prediction", "truth"):
        table.add_column(column, overflow="fold")
    table.add_column("corrected", justify="right")
    table.add_column("reference", justify="right")
    for task, row in rows:
        texts = [Text(text) for text in (row.question_id, shown(row.prediction), shown(row.truth))]
        table.add_row(title(task), *texts, f"{row.corrected:.1f}", f"{row.reference:.1f}")
    return table


def shown(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """A text in one line of limited length; in quotes where it would not be seen otherwise (blank, spaces outside)."""
    line = text if text == text.strip() and text and text.isprintable() else repr(text)
    return line if len(line) <= characters else line[: characters - 1] + "\u2026"
