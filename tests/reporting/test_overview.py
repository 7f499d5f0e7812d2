"""Several runs: grouping, mean and spread, and the curves on the axes."""

import dataclasses
import io

import numpy as np
import pytest
from readings import dots, heights, texts
from rich.console import Console
from small_matrix import SCORES, content, matrix

from coin_lightning.errors import RunError
from coin_lightning.reporting.drawing import BLUE, MUTED, ORANGE, Shape, Text
from coin_lightning.reporting.overview import (
    best,
    comparison_table,
    forgetting_overview,
    group_by_method,
    mean_and_spread,
    metric_text,
)
from coin_lightning.reporting.run_matrix import RunMatrix, parse_matrix


def run(method: str, seed: int, acc: float, add: float = 0) -> RunMatrix:
    scores = [[None if cell is None else cell + add for cell in row] for row in SCORES]
    return parse_matrix(content(scores, method=method, seed=seed, metrics={"acc": acc, "fwt": None}))


RUNS = [run("lora", 1, 20), run("moelora", 1, 40), run("lora", 2, 26, add=4)]


def test_spread_is_the_sample_standard_deviation() -> None:
    mean, deviation = mean_and_spread(np.array([[1.0, 2.0], [3.0, 2.0]]))
    assert mean.tolist() == [2, 2]
    assert deviation.tolist() == pytest.approx([2**0.5, 0])
    assert np.isnan(mean_and_spread(np.array([[1.0]]))[1]).all()


def test_groups_and_metric_texts() -> None:
    lora, moelora = group_by_method(RUNS)
    assert (lora.label, len(lora.runs), moelora.label) == ("LoRA", 2, "MoELoRA")
    assert metric_text(lora, "acc") == "23.0 ±4.2"  # 18 ** 0.5
    assert metric_text(moelora, "acc") == "40.0"
    assert metric_text(lora, "fwt") == "\u2013"


def test_labels_tell_backbones_apart() -> None:
    other = dataclasses.replace(RUNS[0], backbone="llava_smol")
    assert [group.label for group in group_by_method([RUNS[0], other])] == ["LoRA, tiny", "LoRA, llava_smol"]
    third = dataclasses.replace(RUNS[0], experiment="wide")
    assert [group.label for group in group_by_method([RUNS[0], third])] == ["LoRA, e", "LoRA, wide"]


def test_a_sweep_is_not_averaged_as_seeds() -> None:
    narrow = dataclasses.replace(RUNS[0], protocol={"adapter": "rank 8, alpha 16", "epochs": 1})
    wide = dataclasses.replace(RUNS[2], protocol={"adapter": "rank 16, alpha 16", "epochs": 1})
    groups = group_by_method([narrow, wide])
    assert [(group.label, len(group.runs)) for group in groups] == [("LoRA, rank 8", 1), ("LoRA, rank 16", 1)]


def test_bare_numbers_in_labels_have_their_field() -> None:
    runs = [dataclasses.replace(RUNS[0], protocol={"train_samples": n, "shuffle": n > 8}) for n in (8, 16)]
    assert [group.label for group in group_by_method(runs)] == [
        "LoRA, train samples 8, shuffle False", "LoRA, train samples 16, shuffle True",
    ]  # fmt: skip


def test_numbers_by_task_have_their_field_too() -> None:
    runs = [dataclasses.replace(RUNS[0], protocol={"epochs": epochs}) for epochs in (1, "gqa 3, vizwiz 1")]
    assert [group.label for group in group_by_method(runs)] == ["LoRA, epochs 1", "LoRA, epochs gqa 3, vizwiz 1"]


def test_a_label_says_a_rate_once() -> None:
    rates = [(None, "adapter 0.001, projector 0.001"), (2.5e-4, "adapter 0.001, projector 0.00025")]
    runs = [dataclasses.replace(RUNS[0], protocol={"projector_lr": own, "learning_rates": all_}) for own, all_ in rates]
    assert [group.label for group in group_by_method(runs)] == ["LoRA, projector 0.001", "LoRA, projector 0.00025"]


def test_of_many_groups_the_best_are_shown_and_the_one_that_must() -> None:
    runs = [dataclasses.replace(run("lora", 1, acc), protocol={"rank": acc}) for acc in range(30)]
    runs.append(dataclasses.replace(run("lora", 1, 0), metrics={"acc": None}, protocol={"rank": 30}))
    groups = group_by_method(runs)
    assert best(groups, most=31) == groups
    assert [group.label for group in best(groups, most=3)] == ["LoRA, rank 29", "LoRA, rank 28", "LoRA, rank 27"]
    kept = best(groups, always="LoRA, rank 5", most=3)
    assert [group.label for group in kept] == ["LoRA, rank 29", "LoRA, rank 28", "LoRA, rank 5"]
    console = Console(file=io.StringIO(), width=120)
    console.print(comparison_table(groups))
    lines = console.file.getvalue().splitlines()
    assert sum("LoRA, rank" in line for line in lines) == 24
    assert "the 24 of 31 with the highest final accuracy; the files have all" in " ".join(" ".join(lines[-2:]).split())


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(RunError, match=r"seeds \[1, 1\]"):
        group_by_method([RUNS[0], RUNS[0]])


def test_curves_are_means_over_seeds() -> None:
    drawing = forgetting_overview(group_by_method(RUNS))
    assert texts(drawing, bold=True) == ["a", "b", "c", "Mean of the tasks seen"]
    assert texts(drawing)[:3] == ["LoRA (2 seeds)", "MoELoRA (1 seed)", "zero-shot"]
    means = heights(drawing, dots(drawing, BLUE))
    assert means[[0, 1, 2, 3]].tolist() == pytest.approx([62, 62, 42, 52])  # its own training has a dot more
    single = heights(drawing, dots(drawing, ORANGE))
    assert single[-4:].tolist() == pytest.approx([60, 60, 55, 160 / 3])
    band = next(mark for mark in drawing.marks if isinstance(mark, Shape) and mark.opacity < 1)
    edges = heights(drawing, [y for _, y in band.points])
    np.testing.assert_allclose(edges - [62, 42, 52, 52, 42, 62], [8**0.5] * 3 + [-(8**0.5)] * 3)


def test_zero_shot_is_one_line_only_where_all_begin_alike() -> None:
    def levels(runs: list[RunMatrix]) -> list[tuple[str, float]]:
        drawing = forgetting_overview(group_by_method(runs))
        lines = [mark for mark in drawing.marks if isinstance(mark, Shape) and mark.dashed][1:]  # behind the legend's
        lines = [mark for mark in lines if mark.points[0][0] < 215]  # of the first panel
        return [(mark.color, float(heights(drawing, [mark.points[0][1]])[0])) for mark in lines]

    alike = [run("lora", 1, 20), run("lora", 2, 26), run("moelora", 1, 40)]
    assert levels(alike) == [(MUTED, pytest.approx(10))]
    other = dataclasses.replace(run("moelora", 1, 40), scores=np.array([[64.0, 20, 5], *RUNS[0].scores[1:]]))
    assert levels([*alike[:2], other]) == [(BLUE, pytest.approx(10)), (ORANGE, pytest.approx(64))]
    without = dataclasses.replace(other, scores=np.array([[np.nan] * 3, *RUNS[0].scores[1:]]))
    assert levels([*alike[:2], without]) == [(MUTED, pytest.approx(10))]


def test_other_task_order_is_refused() -> None:
    with pytest.raises(RunError, match="put only runs with one order"):
        forgetting_overview(group_by_method([matrix(), dataclasses.replace(matrix(), tasks=("b", "a", "c"))]))
    with pytest.raises(RunError, match="No runs"):
        forgetting_overview([])


def test_table_has_a_column_per_method() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(group_by_method(RUNS)))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["Final", "accuracy", "(ACC)", "23.0", "±4.2", "40.0"] in lines


def test_a_long_legend_goes_on_in_further_lines() -> None:
    runs = [dataclasses.replace(RUNS[0], protocol={"adapter": f"rank {rank}, experts {rank}"}) for rank in range(6)]
    drawing = forgetting_overview(group_by_method(runs))
    labels = [mark for mark in drawing.marks if isinstance(mark, Text) and "seed" in mark.text]
    assert len(labels) == 6
    assert len({mark.y for mark in labels}) > 1
    assert all(mark.x > 0 and mark.x + 6.1 * len(mark.text) < drawing.width for mark in labels)
    first_heading = next(mark for mark in drawing.marks if isinstance(mark, Text) and mark.bold)
    assert max(mark.y for mark in labels) + 8 < first_heading.y
