"""Tables of all variants of the scorers next to each other, for the terminal."""

from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from coin_lightning.evaluation.side_by_side import SampleDifference, TaskVariants, in_order
from coin_lightning.reporting.names import MINUS, MISSING, percent, signed

SHOWN_CHARACTERS = 40
Title = Callable[[str], str]


def side_by_side_table(lines: Sequence[TaskVariants], title: Title) -> Table:
    """Task, percent by each variant, the others' difference to the first in points, and differing samples."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("task", no_wrap=True)
    first, *others = in_order(line.scores for line in lines) or [""]
    for column in (first, *others, *(f"{name} {MINUS} {first}" for name in others), "differing samples"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        counts = MISSING if line.differing is None else f"{line.differing} of {line.count}"
        numbers = [percent(line.scores[name]) for name in (first, *others)]
        numbers += [signed(line.difference(name)) for name in others]
        table.add_row(title(line.task), *numbers, counts, style="dim" if line.differing == 0 else "")
    return table


def differences_table(samples: Sequence[tuple[str, SampleDifference]], title: Title) -> Table:
    """Samples that the variants score differently: task and sample, with all scores (0 to 1)."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("task", "question", "prediction", "truth"):
        table.add_column(column, overflow="fold")
    variants = in_order(sample.scores for _, sample in samples)
    for variant in variants:
        table.add_column(variant, justify="right")
    for task, sample in samples:
        texts = [Text(text) for text in (sample.question_id, shown(sample.prediction), shown(sample.truth))]
        scores = [f"{sample.scores[name]:.1f}" if name in sample.scores else MISSING for name in variants]
        table.add_row(title(task), *texts, *scores)
    return table


def shown(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """A text in one line of limited length; in quotes where it would not be seen otherwise (blank, spaces outside)."""
    line = text if text == text.strip() and text and text.isprintable() else repr(text)
    return line if len(line) <= characters else line[: characters - 1] + "\u2026"
