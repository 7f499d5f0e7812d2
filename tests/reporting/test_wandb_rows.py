"""Tables of a W&B run; what reaches its files is tested in the whole loop (`integration/test_loggers.py`)."""

from collections.abc import Callable
from pathlib import Path

from small_matrix import matrix

from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.wandb_rows import EXAMPLE_COLUMNS, example_rows, matrix_table


def test_table_holds_the_matrix() -> None:
    table = matrix_table(matrix())
    assert table.columns == ["after", "a", "b", "c"]
    assert table.data[2] == ["b", 40.0, 70.0, None]


def test_examples_are_those_of_the_page(make_run: Callable[..., Path]) -> None:
    run = load_run(make_run(tasks=("scienceqa", "textvqa", "imagenet"), finished=2))
    lines = [dict(zip(EXAMPLE_COLUMNS, row, strict=True)) for row in example_rows(run, 4)]
    assert [line["task"] for line in lines] == ["scienceqa"] * 4 + ["textvqa"] * 4  # imagenet is still to come
    changed = [line for line in lines if line["change"] in ("forgotten", "gained")]
    assert len(changed) == 2  # half of scienceqa's; textvqa was trained last
    for line in changed:
        assert (line["score after its training"] >= 0.5) != (line["score now"] >= 0.5)
