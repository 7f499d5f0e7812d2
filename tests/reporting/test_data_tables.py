"""What the terminal shows of a data check."""

from pathlib import Path
from typing import Any

import pytest
from data_report import ROOT, expected, finding, report, task
from rich.console import Console

from coin_lightning.reporting.data_tables import (
    count_table,
    expected_text,
    findings_list,
    nearest,
    samples_text,
    short_paths,
    verdict,
)
from coin_lightning.reporting.names import MISSING

HERE = Path("/nowhere")


def shown(renderable: Any, width: int = 100) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_samples_beside_expected_samples_with_their_source():
    levels = {"error": 2, "warning": 0, "note": 1}
    text = shown(count_table(report(task("scienceqa", HERE), task("gqa", HERE, levels=levels))))
    first, second = (next(line for line in text.splitlines() if name in line) for name in ("ScienceQA", "GQA"))
    assert first.split() == ["ScienceQA", "train", "12", "726", "12", "726", "✓", "somebody", "counted", "none"]
    assert second.rstrip().endswith("2 E 1 N")
    assert "4       5 ✗" in text


def test_a_file_that_could_not_be_read_has_a_dash():
    broken = task("gqa", HERE, counts={"train": None, "test": 4}, expected={"train": [], "test": []})
    text = shown(count_table(report(broken)))
    assert f"{MISSING}  not known" in text.replace("   ", "  ")


def test_it_fits_eighty_columns():
    text = shown(count_table(report(task("scienceqa", HERE))), 80)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (1000, "1 000"), (1234567, "1 234 567"), (None, MISSING)]
)
def test_groups_of_three_digits(count, text):
    assert samples_text(count) == text


def test_a_round_number_is_called_so():
    assert expected_text(expected(20000, rounded=True)).plain == "about 20 000 ✓"
    assert expected_text(None).plain == "not known"


def test_the_surest_statement_that_agrees_is_shown():
    known = [expected(1, False), expected(2, True), expected(3, True)]
    assert nearest({"expected": {"train": known}}, "train")["count"] == 2
    assert nearest({"expected": {"train": known[:1]}}, "train")["count"] == 1
    assert nearest({"expected": {"train": []}}, "train") is None


def test_findings_name_file_and_sample_errors_first():
    one = task("gqa", HERE, findings=[finding("warning", "shared_id", 1, f"{ROOT}/test.json sample 7", split="test")])
    examples = [f"{ROOT}/cl/a{at}.png" for at in range(5)]
    two = task("vqav2", HERE, findings=[finding("error", "image", 9, *examples), finding("note", "x", 1, "hidden")])
    lines = [line.rstrip() for line in shown(findings_list(report(one, two))).splitlines()]
    assert lines == [
        "error   VQAv2 train: 9 cases of image [image]",
        *(f"          cl/a{at}.png" for at in range(3)),
        "          and 6 more",
        "warning GQA test: 1 cases of shared_id [shared_id]",
        "          test.json sample 7",
        "note    VQAv2 train: 1 cases of x [x]",
    ]


def test_nothing_found():
    assert shown(findings_list(report(task("gqa", HERE)))).strip() == "nothing found"


def test_names_of_files_are_no_markup():
    odd = task("gqa", HERE, findings=[finding("error", "image", 1, "[red]a[/red].png")])
    assert "[red]a[/red].png" in shown(findings_list(report(odd)))


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ({"error": 0, "warning": 0, "note": 3}, "no errors, 0 warnings: a run may start"),
        ({"error": 0, "warning": 1, "note": 0}, "no errors, 1 warning: a run may start"),
        ({"error": 1, "warning": 0, "note": 0}, "1 error: a run may not start on these data"),
        ({"error": 3, "warning": 5, "note": 0}, "3 errors: a run may not start on these data"),
    ],
)
def test_verdict(levels, text):
    assert verdict(report(task("gqa", HERE, levels=levels))).plain == text


def test_paths_below_the_root_are_short():
    texts = [f"{ROOT}/a.json sample 1: {ROOT}/b.png is missing", "/other/c"]
    assert short_paths(report(), texts) == ["a.json sample 1: b.png is missing", "/other/c"]
