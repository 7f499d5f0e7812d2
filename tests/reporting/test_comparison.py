"""comparison.html and its figures."""

import dataclasses
from pathlib import Path

import pytest
from small_matrix import matrix

from coin_lightning.errors import RunError
from coin_lightning.reporting.comparison import split_by_tasks, write_comparison


def test_page_and_one_figure_per_task_order(tmp_path: Path) -> None:
    first = matrix()
    runs = [
        first,
        dataclasses.replace(first, seed=2),
        dataclasses.replace(first, tasks=("b", "a", "c"), notes=("<note>",)),
    ]
    assert [len(members) for members in split_by_tasks(runs)] == [2, 1]
    files = write_comparison(runs, tmp_path / "out")
    stems = ("comparison", "comparison_2")
    made = [f"{stem}.{kind}" for stem in stems for kind in ("png", "md", "tex", "csv")]
    assert [file.name for file in files] == ["comparison.html", *made]
    assert "LoRA (2 seeds)" in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    text = files[0].read_text(encoding="utf-8")
    assert "53.3 ±0.0" in text
    assert "LoRA (2 seeds)" in text
    assert "&lt;note&gt;" in text
    assert text.count("<svg") == 2
    assert 'src="http' not in text
    assert 'href="http' not in text


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No runs given"):
        write_comparison([], tmp_path)
