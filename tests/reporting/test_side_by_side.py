"""Tables of both variants as they are printed."""

import io

from rich.console import Console

from coin_lightning.evaluation.side_by_side import SampleDifference, TaskVariants
from coin_lightning.reporting.names import title
from coin_lightning.reporting.side_by_side import differences_table, shown, side_by_side_table


def printed(table) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def line(task: str, corrected: float | None, reference: float | None, differing: int | None) -> TaskVariants:
    return TaskVariants(task, {"corrected": corrected, "reference": reference}, differing, 40)


def test_table_has_both_scores_and_the_differing_rows():
    text = printed(side_by_side_table([line("vqav2", 62.5, 60.0, 3), line("ocrvqa", None, 50.0, None)], title))
    lines = [line.split() for line in text.splitlines()]
    assert ["VQAv2", "62.5", "60.0", "\u22122.5", "3", "of", "40"] in lines
    assert ["OCR-VQA", "\u2013", "50.0", "\u2013", "\u2013"] in lines


def test_rows_are_shown_as_they_are():
    text = printed(differences_table([("gqa", SampleDifference("12", "[b]Yes ", "yes", {"corrected": 1.0}))], title))
    assert "'[b]Yes '" in text
    assert "GQA" in text


def test_texts_that_cannot_be_seen_get_quotes():
    assert [shown(text) for text in ("red", "", " ", "a\nb")] == ["red", "''", "' '", "'a\\nb'"]
    assert shown("x" * 50, 10) == "x" * 9 + "\u2026"
