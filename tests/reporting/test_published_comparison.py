"""Ours beside the published numbers: which cell meets which, and what is said of weak evidence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import add_judge, build_run

from coin_lightning.errors import DataError
from coin_lightning.reporting.published_comparison import comparisons
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix

ROW = "coin_truth_alignment/llava_7b_moelora_e8"


@pytest.fixture
def loaded(tmp_path: Path) -> RunMatrix:
    run = build_run(tmp_path, images=False)
    file = run / "matrix.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"published": ROW}), encoding="utf-8")
    add_judge(run)
    return load_matrix(run)


def test_without_a_published_row_there_is_nothing_to_compare(loaded: RunMatrix) -> None:
    assert comparisons(replace(loaded, published=None)) == []


def test_metrics_stand_beside_ours_with_the_difference(loaded: RunMatrix) -> None:
    first = comparisons(loaded)[0]
    lines = {line.key: line for line in first.metrics}
    assert (lines["acc"].published, lines["maa"].published, lines["bwt_coin"].published) == (37.13, 42.76, -25.91)
    assert lines["maa"].ours == 45.5
    assert lines["maa"].difference == pytest.approx(45.5 - 42.76)


def test_the_cells_of_the_same_run_from_another_table_are_compared(loaded: RunMatrix) -> None:
    first = comparisons(loaded)[0]
    after, lines = first.matrix[1]
    assert after == "textvqa"
    assert lines[0] is None
    assert lines[1] is not None
    assert lines[1].published == 51.73
    assert lines[1].ours == loaded.scores[2, 1]


def test_values_from_memory_are_marked(loaded: RunMatrix) -> None:
    final = {line.key: line for line in comparisons(loaded)[0].final}
    assert (final["scienceqa"].published, final["scienceqa"].mark) == (63.07, "from memory")
    assert (final["gqa"].published, final["gqa"].mark) == (37.38, "")


def test_in_another_order_no_cell_is_compared(loaded: RunMatrix) -> None:
    other = replace(loaded, tasks=tuple(reversed(loaded.tasks)))
    assert comparisons(other)[0].matrix == ()


def test_differing_protocol_fields_are_listed(loaded: RunMatrix) -> None:
    differences = comparisons(loaded)[0].differences
    assert "projector: ours carried, published reinitialised" in differences


def test_our_judges_meet_only_the_papers_judges(loaded: RunMatrix) -> None:
    found = comparisons(loaded)
    assert found[0].judge is None
    assert all(item.row.protocol.get("judge") and item.judge == "embedding" for item in found[1:])


def test_each_judge_is_compared_under_its_own_name(loaded: RunMatrix) -> None:
    second = loaded.judges["embedding"]
    second = replace(second, protocol={**second.protocol, "variant": "reference"})
    protocol = {**loaded.protocol, "judge": "embedding", "judge_variant": "strict"}
    run = replace(loaded, judges={**loaded.judges, "hf_Qwen": second}, protocol=protocol)
    found = {item.judge: item.differences for item in comparisons(run)}
    own, other = found["embedding"], found["hf_Qwen"]
    assert "judge_variant: ours strict, published reference" in own
    assert not any(line.startswith("judge_variant") for line in other)
    assert [line.partition(",")[0] for line in own if line.startswith("judge:")] == ["judge: ours embedding"]
    assert [line.partition(",")[0] for line in other if line.startswith("judge:")] == ["judge: ours hf_Qwen"]


def test_an_unfinished_run_has_no_final_scores(tmp_path: Path) -> None:
    run = build_run(tmp_path / "half", finished=3, images=False)
    half = replace(load_matrix(run), published=ROW)
    assert all(line.ours is None and line.difference is None for line in comparisons(half)[0].final)


def test_an_unknown_row_is_refused(loaded: RunMatrix) -> None:
    with pytest.raises(DataError, match="names no row"):
        comparisons(replace(loaded, published="coin/nothing"))
