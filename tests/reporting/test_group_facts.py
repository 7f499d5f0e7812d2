"""Order sensitivity, routing, cost, and in what groups differ."""

import dataclasses
import json

import numpy as np
import pytest
from small_matrix import content

from coin_lightning.reporting.group_facts import (
    averaged_over,
    cost_lines,
    kept_apart,
    order_table,
    router_lines,
    unlike,
)
from coin_lightning.reporting.overview import group_by_method
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix, parse_matrix


def run(seed: int, acc: float, tasks: str = "abc", **changes: object) -> RunMatrix:
    given = {"tasks": list(tasks), "seed": seed, "metrics": {"acc": acc}} | changes
    return parse_matrix(content(**given))


def test_order_sensitivity_by_hand():
    runs = [run(1, 20), run(2, 24), run(1, 30, "cba"), run(1, 25, "bca"), run(1, 50, method="moelora")]
    runs.append(run(2, 99, "bca", metrics={"acc": None}))
    groups = group_by_method(runs)
    table = order_table(groups, [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
    ((label, cells),) = table.rows  # the other method has one order only
    assert label == "LoRA (5 runs)"
    # 25 and nothing: no mean. Apart: of seed 1 alone, which all orders have
    assert [cell.mean for cell in cells] == pytest.approx([22, 30, np.nan, 10, 5], nan_ok=True)
    assert cells[0].deviation == pytest.approx(8**0.5)
    assert order_table(groups[1:], [("a", "b", "c")]) is None


def test_cost_is_the_mean_over_runs_and_says_where(make_run):
    runs = [load_matrix(make_run(f"r{seed}", seed=seed, tasks=("gqa",), answers=4, images=False)) for seed in (1, 2)]
    slow = dataclasses.replace(runs[1], cost={**runs[1].cost, "train_seconds": 135.0})
    (line,) = cost_lines(group_by_method([runs[0], slow]))
    assert line.cells["training"] == "1 min 40 s"  # of 65 and 135 seconds
    assert line.cells["trainable parameters"] == "4.88 M"
    assert line.machine == "cpu, 2 cores"
    (bare,) = cost_lines(group_by_method([run(1, 20)]))
    assert set(bare.cells.values()) == {"\u2013"}


def test_routing_that_is_even_uses_all_experts(make_run):
    made = load_matrix(make_run("r", tasks=("gqa", "vqav2"), answers=4, images=False))
    (line,) = router_lines(group_by_method([made]))
    assert (line.experts, line.load.load.shape) == (8, (2, 60, 8))
    gates = line.load.load.mean(axis=0)
    assert line.effective == pytest.approx(np.mean(np.exp(-(gates * np.log(gates)).sum(axis=1))))
    assert 1 < line.effective < 8
    assert router_lines(group_by_method([run(1, 20)])) == []


def test_experts_are_counted_run_by_run(make_run):
    """Two runs that each send all to another expert use one, not two: numbers of experts mean nothing across runs."""
    made = [load_matrix(make_run(f"r{seed}", seed=seed, tasks=("gqa",), answers=4, images=False)) for seed in (1, 2)]
    for run_, expert in zip(made, (0, 1), strict=True):
        file = next(run_.folder.rglob("router.json"))
        known = json.loads(file.read_text())
        gates = [[float(at == expert) for at in range(known["num_experts"])]] * len(known["layers"])
        file.write_text(json.dumps(known | {"load": dict.fromkeys(known["load"], gates)}))
    (line,) = router_lines(group_by_method(made))
    assert line.effective == pytest.approx(1, abs=1e-6)
    assert (line.load.load[0, 0].tolist().index(1.0), line.seed) == (0, 1)


def test_methods_that_differ_in_more_than_the_method_are_told():
    lora, moelora = run(1, 20, protocol={"epochs": 1, "adapter": "rank 8"}), run(1, 30, method="moelora")
    assert unlike(group_by_method([lora, dataclasses.replace(moelora, protocol=lora.protocol)])) == []
    other = dataclasses.replace(moelora, backbone="llava_7b", protocol={"epochs": 5, "adapter": "rank 16"})
    assert unlike(group_by_method([lora, other])) == [
        "backbone: tiny (LoRA); llava_7b (MoELoRA)", "epochs: 1 (LoRA); 5 (MoELoRA)",
    ]  # fmt: skip


def test_a_run_that_has_not_ended_costs_nothing_and_routes_nowhere_yet(make_run):
    made = load_matrix(make_run("r", tasks=("gqa", "vqav2"), answers=4, images=False))
    half = dataclasses.replace(made, scores=np.where(np.arange(3)[:, None] == 2, np.nan, made.scores))
    assert router_lines(group_by_method([half])) == []
    (line,) = cost_lines(group_by_method([half]))
    assert set(line.cells.values()) == {"\u2013"}


def test_what_keeps_groups_apart_is_said_with_both_values():
    runs = [run(1, 20, protocol={"epochs": 1}), run(2, 30, protocol={"epochs": 2})]
    assert kept_apart(group_by_method(runs)) == ["LoRA: epochs 1 | 2 (--allow epochs)"]
    together = group_by_method(runs, ["epochs"])
    assert [len(group.runs) for group in together] == [2]
    assert kept_apart(together, ["epochs"]) == []
    assert averaged_over(together, ["epochs"]) == ["LoRA is averaged over runs that differ in epochs: 1 | 2."]
