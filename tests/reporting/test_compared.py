"""Runs grouped for a comparison, before anything is shown."""

import dataclasses

import pytest
from small_matrix import matrix

from coin_lightning.errors import ConfigError, RunError
from coin_lightning.reporting.compared import compare, same_tasks


def test_nothing_to_compare() -> None:
    with pytest.raises(RunError, match="No runs given"):
        compare([])


def test_tests_without_answers_are_refused() -> None:
    first = matrix()
    other = dataclasses.replace(first, method="moelora", method_title="MoELoRA")
    with pytest.raises(ConfigError, match=r"tests need scores of all single answers.*are not there"):
        compare([first, other], baseline="lora")


def test_orders_of_the_same_tasks_belong_together() -> None:
    first = matrix()
    other = dataclasses.replace(first, tasks=("c", "b", "a"))
    foreign = dataclasses.replace(first, tasks=("c", "b", "x"))
    assert [len(runs) for runs in same_tasks([first, foreign, other])] == [2, 1]
    both, alone = compare([first, foreign, other])
    assert both.orders == [("a", "b", "c"), ("c", "b", "a")]
    assert both.several
    assert [len(group.runs) for group in both.groups] == [2]
    assert not alone.several


def test_scores_by_unlike_versions_of_a_scorer_are_refused() -> None:
    first = dataclasses.replace(matrix(), versions={"a": 1, "b": 1, "c": 1})
    newer = dataclasses.replace(first, seed=2, versions={"a": 1, "b": 2, "c": 1})
    with pytest.raises(RunError, match=r"b: e \(seed 2\) was scored by version 2 of its scorers, e \(seed 1\) by 1"):
        compare([first, newer])
