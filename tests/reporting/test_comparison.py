"""comparison.html and its figures."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from small_matrix import matrix

from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.cider import CIDErD
from coin_lightning.evaluation.scorer import TaskScore
from coin_lightning.reporting.compared import compare, split_by_tasks
from coin_lightning.reporting.comparison import write_comparison
from coin_lightning.reporting.run_matrix import load_matrix


def test_page_and_one_figure_per_task_order(tmp_path: Path) -> None:
    first = matrix()
    runs = [
        first,
        dataclasses.replace(first, seed=2),
        dataclasses.replace(first, tasks=("b", "a", "c"), notes=("<note>",)),
    ]
    assert [len(members) for members in split_by_tasks(runs)] == [2, 1]
    files = write_comparison(compare(runs), tmp_path / "out")
    stems = ("comparison", "comparison_2")
    made = [f"{stem}.{kind}" for stem in stems for kind in ("png", "md", "tex", "csv")]
    assert [file.name for file in files] == ["comparison.html", *made, "comparison.parquet"]
    assert "LoRA (2 seeds)" in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    text = files[0].read_text(encoding="utf-8")
    assert "53.3 ±0.0" in text
    assert "LoRA (2 seeds)" in text
    assert "&lt;note&gt;" in text
    assert text.count("<svg") == 2
    assert "The answers of 3 of 3 runs are not there" in text
    assert "Order 2: b → a → c" in " ".join(text.split())
    assert 'src="http' not in text
    assert 'href="http' not in text


def test_scores_over_all_answers_leave_out_tests_but_no_page(make_run, tmp_path: Path, monkeypatch) -> None:
    """A task whose scorer says nothing of single answers."""
    monkeypatch.setattr(CIDErD, "score", lambda scorer, records: TaskScore(50.0, len(records)))
    node = {"scorers": {"corrected": {"_target_": "coin_lightning.evaluation.cider.CIDErD"}}}
    options = {"tasks": ("gqa", "vqav2"), "answers": 6, "images": False}
    runs = [make_run(method, method=method, **options) for method in ("lora", "olora")]
    for run in runs:
        (run / "config.yaml").write_text(yaml.safe_dump({"seed": 1, "scenario": {"tasks": {"gqa": node}}}))
        content = json.loads((run / "matrix.json").read_text())
        content["scores"] = [[50.0, row[1]] for row in content["scores"]]
        (run / "matrix.json").write_text(json.dumps(content))
    (compared,) = compare([load_matrix(run) for run in runs])
    assert compared.notes == ["GQA: scored over all answers together: no tests and no intervals."]
    assert compared.power == ""
    files = write_comparison([compared], tmp_path / "out")
    assert "scored over all answers together" in files[0].read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="GQA: scored over all answers together"):
        compare([load_matrix(run) for run in runs], baseline="lora")


def test_more_groups_than_colours_get_several_figures(tmp_path: Path) -> None:
    runs = [dataclasses.replace(matrix(), protocol={"rank": rank}) for rank in range(8)]
    names = [file.name for file in write_comparison(compare(runs), tmp_path)]
    assert {"comparison.png", "comparison_curves_2.png"} <= set(names)


def test_hundreds_of_groups_have_a_row_each_and_figures_of_the_best(tmp_path: Path) -> None:
    first = matrix()
    runs = [
        dataclasses.replace(first, protocol={"rank": rank}, metrics=first.metrics | {"acc": rank / 4})
        for rank in range(200)
    ]
    files = write_comparison(compare(runs), tmp_path)
    assert len([file for file in files if file.name.startswith("comparison_curves")]) == 3
    text = files[0].read_text(encoding="utf-8")
    scores = text.split("<caption>Metrics</caption>")[1].split("</table>")[0]
    assert scores.count("<tr>") == 1 + 200
    assert "Curves of the 24 of 200 methods with the highest final accuracy;" in text
    assert ">LoRA, rank 199 (1 seed)</text>" in text
    assert ">LoRA, rank 175 (1 seed)</text>" not in text
    assert len(text) < 400_000


def test_intervals_are_of_one_order_and_unlike_orders_are_said(make_run, tmp_path: Path) -> None:
    options = {"answers": 8, "images": False, "router": False}
    given = [("lora", ("gqa", "vqav2")), ("lora", ("vqav2", "gqa")), ("olora", ("gqa", "vqav2"))]
    runs = [load_matrix(make_run(f"{m}{t[0]}", method=m, tasks=t, **options)) for m, t in given]
    (compared,) = compare(runs)
    assert any("Not every method was run equally often in every order" in note for note in compared.notes)
    files = {file.name: file for file in write_comparison([compared], tmp_path / "out")}
    first, second = (files[name].read_text(encoding="utf-8") for name in ("comparison.md", "comparison_2.md"))
    assert "Final accuracy by order of tasks" in first
    head = "**Score at the end with its 95 % interval over other test images**"
    lines = first.split(head)[1].splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:6]] == ["LoRA (1 seed)", "O-LoRA (1 seed)"]
    assert f"| LoRA (1 seed) | {runs[0].scores[2, 0]:.1f} [" in first
    assert f"| LoRA (1 seed) | {runs[1].scores[2, 0]:.1f} [" in second.split(head)[1]
    page = files["comparison.html"].read_text(encoding="utf-8")
    assert "Single answers that turned, order 2" in page
    assert [note for note in compare(runs[::2])[0].notes if "order" in note] == []


def test_unlike_test_samples_stand_side_by_side_without_tests(make_run, tmp_path: Path) -> None:
    options = {"tasks": ("gqa", "vqav2"), "images": False, "router": False}
    runs = [load_matrix(make_run(m, method=m, answers=n, **options)) for m, n in (("lora", 8), ("olora", 10))]
    (compared,) = compare(runs)
    note = "GQA, VQAv2: the runs have other test samples, or other rules for them: no tests and no intervals."
    assert compared.notes == [note]
    assert "Single answers that turned" in write_comparison([compared], tmp_path)[0].read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="GQA, VQAv2: the runs have other test samples"):
        compare(runs, baseline="lora")


def test_unfinished_runs_are_compared_as_far_as_they_are(make_run, tmp_path: Path) -> None:
    options = {"tasks": ("gqa", "vqav2", "imagenet"), "images": False, "router": False, "answers": 8}
    done, half = make_run("done", method="lora", **options), make_run("half", method="olora", finished=2, **options)
    runs = [load_matrix(run) for run in (done, half)]
    (compared,) = compare(runs, baseline="lora")
    assert compared.notes == ["Nothing was tested: no two finished runs share seed and order, one of them LoRA."]
    assert compared.tests == []
    (unknown,) = compare([dataclasses.replace(run, seed=None) for run in runs], baseline="lora")
    assert unknown.notes == ["Nothing was tested: runs are paired by seed, and the seeds of imported runs are unknown."]
    assert {group.seeds for group in unknown.groups} == {"1 run"}
    text = (write_comparison([compared], tmp_path)[0].parent / "comparison.md").read_text(encoding="utf-8")
    intervals = text.split("95 % interval")[1].split("**Right")[0]
    assert "O-LoRA" not in intervals
    assert "| LoRA (1 seed) |" in intervals
