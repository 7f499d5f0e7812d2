"""The published tables: complete, marked, and consistent with the metrics that this project computes."""

import json
from pathlib import Path

import numpy as np
import pytest

from coin_lightning.errors import DataError
from coin_lightning.metrics.continual import summarize
from coin_lightning.reporting.compared import compare
from coin_lightning.reporting.comparison import write_comparison
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.overview import group_by_method
from coin_lightning.reporting.published import (
    PublishedRow,
    comparable,
    evidence,
    protocol_differences,
    published_dir,
    published_row,
    published_rows,
    same_run,
    text,
)
from coin_lightning.reporting.published_comparison import group_comparisons
from coin_lightning.reporting.run_matrix import load_matrix

ROWS = published_rows()
TASKS = ("scienceqa", "textvqa", "imagenet", "gqa", "vizwiz", "grounding", "vqav2", "ocrvqa")


def ends(row: PublishedRow, tasks=TASKS) -> dict[str, float]:
    """Metrics that immediate and final scores define: the cells between them are not needed."""
    table = np.full((len(tasks), len(tasks)), np.nan)
    np.fill_diagonal(table, [row.immediate[task] for task in tasks])
    table[-1] = [row.final[task] for task in tasks]
    return summarize(table)


def test_there_are_the_tables_of_the_facts():
    assert {key.split("/")[0] for key in ROWS} == {
        "coin_truth_alignment", "coin_radar", "coin_zero_shot_and_multitask", "coin_matrices", "coin_other_runs",
        "coin_reasoning_capability", "follow_up_aggregates", "follow_up_final_scores",
    }  # fmt: skip
    assert len(ROWS) > 80
    assert all(row.sources and all(row.sources) for row in ROWS.values())


@pytest.mark.parametrize(
    ("row", "acc", "bwt_coin", "bwt"),
    [
        ("llava_7b_lora", 28.74, -32.62, -37.29),
        ("qwen_vl_lora", 41.23, -16.94, None),
        ("minigpt_v2_lora", 26.24, 6.04, None),
    ],
)
def test_the_radar_figure_gives_the_published_aggregates(row: str, acc: float, bwt_coin: float, bwt: float | None):
    got, table = ends(ROWS[f"coin_radar/{row}"]), ROWS[f"coin_truth_alignment/{row}"].metrics
    # sums of sixteen rounded numbers: half a hundredth, and the published rounding
    assert got["acc"] == pytest.approx(acc, abs=0.011)
    assert got["bwt_coin"] == pytest.approx(bwt_coin, abs=0.011)
    assert bwt is None or got["bwt"] == pytest.approx(bwt, abs=0.011)
    assert (table["acc"], table["bwt_coin"]) == (acc, bwt_coin)


def test_scienceqa_from_memory_closes_moeloras_row_exactly():
    row = ROWS["coin_matrices/llava_7b_moelora_e8"]
    got, table = ends(row), ROWS["coin_truth_alignment/llava_7b_moelora_e8"].metrics
    assert got["acc"] == pytest.approx(table["acc"], abs=0.011)
    assert got["bwt_coin"] == pytest.approx(table["bwt_coin"], abs=0.011)
    assert set(row.unverified) == {
        "immediate.scienceqa", "final.scienceqa", "matrix.0.scienceqa", "matrix.7.scienceqa",
    }  # fmt: skip


@pytest.mark.parametrize("key", [key for key, row in ROWS.items() if row.matrix is not None])
def test_a_matrix_is_a_lower_triangle_and_agrees_with_its_ends(key: str):
    row = ROWS[key]
    table = [[np.nan if cell is None else cell for cell in line] for line in row.matrix]
    assert sorted(row.tasks) == sorted(TASKS)
    assert all(np.isnan(table[j][i]) for j in range(8) for i in range(j + 1, 8))
    for at, task in enumerate(row.tasks):
        for scores, place in ((row.immediate, at), (row.final, 7)):
            value = scores[task]
            assert np.isnan(table[place][at]) if value is None else table[place][at] == value
    others = [other for other in same_run(key, ROWS) if other.key.startswith("coin_radar/")]
    assert all(other.final == row.final and other.immediate == row.immediate for other in others)


@pytest.mark.parametrize(
    ("row", "acc", "bwt"),
    [  # over the seven stored tasks, computed by hand from the raw files
        ("llava_7b_moelora_e2", 31.39, -27.44), ("llava_7b_moelora_e4", 32.88, -28.22),
        ("llava_7b_moelora_e8_diverse", 31.99, -28.56), ("llava_7b_lora_diverse", 26.63, -30.42),
        ("llava_7b_lora_10type", 29.88, -32.46), ("llava_7b_lora_v10", 27.68, -16.15),
        ("llava_7b_lora_v20", 27.06, -18.63), ("llava_7b_lora_v40", 27.80, -24.78),
        ("llava_7b_lora_v60", 22.59, -29.99),
        ("llava_7b_lora_v80", 27.18, -28.65), ("llava_13b_lora", 33.47, -29.82), ("llava_7b_ewc", 32.35, -19.38),
        ("llava_7b_ewc_0.5", 33.96, -26.58), ("llava_7b_lwf", 29.05, -20.28), ("llava_7b_lora_r192_v40", 31.52, -23.10),
        ("llava_7b_lora_r256", 31.62, -21.59), ("llava_7b_lora_memory100_v40", 41.58, -10.97),
        ("qwen_vl_chat_lora", 36.69, -13.09),
    ],
)  # fmt: skip
def test_other_runs_are_copied_without_a_slip(row: str, acc: float, bwt: float):
    got = ends(ROWS[f"coin_other_runs/{row}"], TASKS[1:])
    assert got["acc"] == pytest.approx(acc, abs=0.006)
    assert got["bwt_coin"] == pytest.approx(bwt, abs=0.006)


@pytest.mark.parametrize(
    ("row", "acc", "maa", "bwt"),
    [("llava_7b_lora", 29.80, 32.07, -28.54), ("llava_7b_moelora_e8", 33.42, 38.39, -27.80)],
)
def test_matrices_are_copied_without_a_slip(row: str, acc: float, maa: float, bwt: float):
    table = [
        [np.nan if cell is None else cell for cell in line[1:]] for line in ROWS[f"coin_matrices/{row}"].matrix[1:]
    ]
    got = summarize(table)
    assert (got["acc"], got["maa"], got["bwt_coin"]) == (
        pytest.approx(acc, abs=0.006), pytest.approx(maa, abs=0.006), pytest.approx(bwt, abs=0.006),
    )  # fmt: skip


def test_the_alphabets_matrix_stands_in_the_order_of_its_scripts():
    """By hand from the raw files (4c16807, results/CoIN/LLaVA-alphabet) over the seven stored tasks."""
    row = ROWS["coin_matrices/llava_7b_lora_alphabetical"]
    assert row.tasks == ("gqa", "imagenet", "ocrvqa", "grounding", "scienceqa", "textvqa", "vizwiz", "vqav2")
    assert list(row.tasks) == row.protocol["order"]
    assert [line[: at + 1] for at, line in enumerate(row.matrix[:5])] == [
        (62.68,), (1.07, 97.3), (40.92, 12.3, 62.0), (10.3, 0, 0, 37.73), (0, 5.03, 0, 0, None),
    ]  # fmt: skip
    assert row.matrix[6] == (38.45, 6.35, 31.18, 0, None, 39.94, 60.1, None)
    keep = [0, 1, 2, 3, 5, 6, 7]
    got = summarize([[np.nan if row.matrix[j][i] is None else row.matrix[j][i] for i in keep] for j in keep])
    assert got["acc"] == pytest.approx((53.92 + 8.57 + 37.75 + 0 + 53.37 + 25.27 + 67.28) / 7)
    lost = (62.68 - 53.92) + (97.3 - 8.57) + (62 - 37.75) + 37.73 + (50.98 - 53.37) + (60.1 - 25.27)
    assert got["bwt_coin"] == pytest.approx(-lost / 7)
    rows = [62.68, 98.37 / 2, 115.22 / 3, 48.03 / 4, 87.94 / 5, 176.02 / 6, 246.16 / 7]
    assert got["maa"] == pytest.approx(sum(rows) / 7)


def test_the_multi_task_row_is_the_mean_of_its_final_scores():
    row = published_row("coin_truth_alignment/llava_7b_multitask")
    assert np.mean([row.final[task] for task in TASKS]) == pytest.approx(row.metrics["maa"], abs=0.005)
    assert row.metrics["acc"] == 57.18
    assert row.unverified == ("final.scienceqa",)
    assert row.computed == ("metrics.acc",)


def test_reasoning_capability_is_consistent():
    row = ROWS["coin_reasoning_capability/llava_7b_lora"]
    got = ends(row)
    assert (got["acc"], got["bwt_coin"]) == (62.75, pytest.approx(-10.88, abs=0.006))
    assert all("judge" in row.protocol for key, row in ROWS.items() if key.startswith("coin_reasoning"))


def test_follow_ups_average_to_their_own_column():
    for key, row in ROWS.items():
        if key.startswith("follow_up_final_scores/"):
            assert np.mean(list(row.final.values())) == pytest.approx(row.metrics["acc"], abs=0.011), key
    assert all(row.experiment is None for key, row in ROWS.items() if key.startswith("follow_up"))
    copied, own = ROWS["follow_up_final_scores/lora_ft"], ROWS["coin_other_runs/llava_7b_lora_diverse"]
    same = [task for task in TASKS if copied.final[task] == own.final[task]]
    assert set(TASKS) - set(same) == {"scienceqa", "imagenet"}


def test_a_row_brings_what_other_tables_know_of_the_same_run():
    row = published_row("coin_truth_alignment/llava_7b_lora")
    assert row.metrics == {"acc": 28.74, "maa": 32.97, "bwt_coin": -32.62}
    assert row.immediate["scienceqa"] == 82.45
    assert row.matrix[1][:3] == (None, 49.99, None)
    with pytest.raises(DataError, match=r"published='coin_truth_alignment/llava' names no row; there are coin_mat"):
        published_row("coin_truth_alignment/llava")


def test_a_judges_scores_are_not_mixed_with_those_of_rules():
    assert published_row("coin_zero_shot_and_multitask/llava_7b_zero_shot").final["scienceqa"] == 49.91
    tables = [row.key.split("/")[0] for row in same_run("coin_truth_alignment/llava_7b_lora", ROWS)]
    assert tables.count("coin_reasoning_capability") == 3


def test_differences_name_known_ones_first_then_unknown_ones():
    ours = {"projector": "carried", "epochs": 1, "fraction": 1.0, "global_batch": "a 4, b 8", "boxes": "converted"}
    published = {
        "projector": "reinitialised", "epochs": 1, "fraction": 1, "global_batch": {"a": 4, "b": 8}, "seed": "unknown",
        "adapter": "unknown (rank 192?)", "order": None,
    }  # fmt: skip
    assert protocol_differences(ours, published) == [
        "projector: ours carried, published reinitialised",
        "seed: ours not recorded, published unknown",
        "adapter: ours not recorded, published unknown (rank 192?)",
        "boxes: ours converted, published unknown",
    ]
    assert protocol_differences({"seed": 1}, {"seed": 1}) == []


def test_equal_batches_are_equal_in_any_order_of_the_tasks():
    published = {"global_batch": {"scienceqa": 96, "gqa": 48, "vizwiz": 96}}
    assert protocol_differences({"global_batch": "gqa 48, scienceqa 96, vizwiz 96"}, published) == []
    assert protocol_differences({"global_batch": "gqa 64, scienceqa 96, vizwiz 96"}, published) == [
        "global_batch: ours gqa 64, scienceqa 96, vizwiz 96, published gqa 48, scienceqa 96, vizwiz 96"
    ]


def test_values_as_text():
    assert text({"a": 1, "b": 2.50}) == "a 1, b 2.5"
    assert text(["x", 3]) == "x, 3"
    assert (text(None), text(2e-4), text(True)) == ("none", "0.0002", "True")


def test_a_run_speaks_about_method_backbone_and_seed(make_run):
    matrix = load_matrix(make_run(answers=4, images=False, router=False))
    ours = comparable(matrix)
    assert (ours["method"], ours["backbone"], ours["seed"]) == ("moelora", "llava_smol", 1)
    lines = protocol_differences(ours, ROWS["coin_truth_alignment/llava_7b_moelora_e8"].protocol)
    assert "backbone: ours llava_smol, published llava_1_5_7b" in lines


def test_what_the_authors_code_did_otherwise_is_a_difference():
    """MiniGPT-v2's LoRA that was never loaded, another base model under Qwen-VL's adapter: no run records these."""
    ours = {"starting_weights": "instruction_tuned", "projector": "carried"}
    for row, field, value in [
        ("coin_truth_alignment/minigpt_v2_lora", "adapter_loaded", "never: the next task and the evaluation of"),
        ("coin_zero_shot_and_multitask/minigpt_v2_multitask", "adapter_loaded", "never: the evaluation begins"),
        ("coin_truth_alignment/qwen_vl_lora", "evaluation_base", "Qwen-VL under the adapter, for ScienceQA"),
    ]:
        lines = protocol_differences(ours, published_row(row).protocol)
        assert any(line.startswith(f"{field}: ours not recorded, published {value}") for line in lines)
    assert not [line for line in lines if line.startswith("starting_weights")]


def write(folder: Path, **changes) -> Path:
    row = {"label": "x", "kind": "computed", "source_key": "A", "metrics": {"acc": 1.0}, "immediate": {}, "final": {},
           "matrix": None, "experiment": "x"}  # fmt: skip
    row = {key: value for key, value in {**row, **changes}.items() if value != "absent"}
    content = {"title": "t", "source": {"A": "a paper"}, "unit": "percent", "protocol": {}, "rows": {"r": row}}
    (folder / "t.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "rumour"}, "kind='rumour' is unknown; use one of published table"),
        ({"source_key": "A, B"}, "source_key names B"),
        ({"missing": "no method"}, "needs exactly one of experiment, missing, same_run_as"),
        ({"experiment": "absent"}, "needs exactly one of"),
        ({"matrix": [[1.0, 2.0]], "tasks": ["a", "b"]}, "matrix must have a row and a column for each of its 2 tasks"),
        ({"computed": ["final.gqa"]}, "final.gqa is marked, but holds no value"),
        ({"label": "absent"}, "lacks label"),
        ({"experiment": "absent", "same_run_as": "t/q"}, "same_run_as=t/q names no row"),
    ],
)
def test_a_garbled_table_is_refused_with_file_and_row(tmp_path: Path, changes, message: str):
    assert list(published_rows(write(tmp_path))) == ["t/r"]
    with pytest.raises(DataError, match=message):
        published_rows(write(tmp_path, **changes))


def test_the_folder_is_that_of_the_checkout():
    assert published_dir().name == "published"
    assert (published_dir() / "coin_radar.json").is_file()


def published_run(make_run, name: str, seed: int, scenario: str = "coin"):
    run = make_run(name, seed=seed, images=False, answers=8, router=False)
    content = json.loads((run / "matrix.json").read_text())
    content |= {"published": "coin_truth_alignment/llava_7b_moelora_e8"}
    content["protocol"] |= {"scenario": scenario}
    (run / "matrix.json").write_text(json.dumps(content))
    return load_matrix(run)


def test_groups_stand_beside_their_row_as_means(make_run):
    runs = [published_run(make_run, f"r{seed}", seed) for seed in (1, 2)]
    (found,) = group_comparisons(group_by_method(runs))
    assert found.ours == "MoELoRA (2 seeds)"
    assert found.evidence == "partly"
    acc = next(line for line in found.metrics if line.key == "acc")
    assert acc.ours == pytest.approx(np.mean([run.metrics["acc"] for run in runs]))
    assert acc.published == 37.13
    last = next(line for line in found.final if line.key == "gqa")
    assert last.ours == np.mean([run.scores[8, 3] for run in runs])
    assert "seed: ours 1, 2, published unknown" in found.differences


def test_evidence_is_one_of_three():
    assert evidence({"scenario": "coin"}, []) == "same protocol"
    assert evidence({"scenario": "coin"}, ["seed: ours 1, published unknown"]) == "partly"
    assert evidence({"scenario": "coin_mini"}, []) == "development data"


def test_development_data_are_called_so_on_both_pages(make_run, tmp_path: Path):
    runs = [published_run(make_run, f"r{seed}", seed, "coin_mini") for seed in (1, 2)]
    pages = [write_report(runs[0].folder, figures=False), write_comparison(compare(runs), tmp_path / "out")[0]]
    for page in pages:
        assert '<span class="tag">development data</span>' in page.read_text(encoding="utf-8")
    assert "MoELoRA (2 seeds) beside" in pages[1].read_text(encoding="utf-8")
