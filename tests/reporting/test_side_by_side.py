"""Tables of both variants as they are printed."""

import io

from rich.console import Console

from coin_lightning.evaluation.side_by_side import RowDifference, VariantRow
from coin_lightning.reporting.side_by_side import differences_table, shown, side_by_side_table


def printed(table) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_table_has_both_scores_and_the_differing_rows():
    text = printed(
        side_by_side_table([VariantRow("vqav2", 62.5, 60.0, 3, 40), VariantRow("ocrvqa", None, 50.0, None, 40)])
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["VQAv2", "62.5", "60.0", "\u22122.5", "3", "of", "40"] in lines
    assert ["OCR-VQA", "\u2013", "50.0", "\u2013", "\u2013"] in lines


def test_rows_are_shown_as_they_are():
    text = printed(differences_table([("gqa", RowDifference("12", "[b]Yes ", "yes", 1.0, 0.0))]))
    assert "'[b]Yes '" in text
    assert "GQA" in text


def test_texts_that_cannot_be_seen_get_quotes():
    assert [shown(text) for text in ("red", "", " ", "a\nb")] == ["red", "''", "' '", "'a\\nb'"]
    assert shown("x" * 50, 10) == "x" * 9 + "\u2026"
