"""What `matrix.json` tells beside scores: values of several tasks in one text, and files by their names only."""

from types import SimpleNamespace
from typing import Any

import pytest

from coin_lightning.cli.facts import _test_subset, by_task, subset_text
from made_tasks import made_task


def train_tasks(*names: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=name) for name in names]


def test_a_value_that_all_tasks_share_is_told_once():
    assert by_task(train_tasks("gqa", "vizwiz"), ["8", "8"]) == "8"
    assert by_task(train_tasks("gqa", "vizwiz"), ["8", "16"]) == "gqa 8, vizwiz 16"
    assert by_task(train_tasks("gqa", "vizwiz"), [0.5, 1.0]) == "gqa 0.5, vizwiz 1.0"
    assert by_task(train_tasks("gqa", "vizwiz"), [3, 3]) == 3  # as it always was, a number
    assert by_task([], []) is None


def test_runs_in_two_orders_say_the_same_of_their_tasks():
    assert by_task(train_tasks("vizwiz", "gqa"), ["16", "8"]) == by_task(train_tasks("gqa", "vizwiz"), ["8", "16"])


def test_limits_of_the_data_are_told_as_the_test_subset():
    def told(switch: Any, *options: dict[str, Any]) -> str:
        tasks = [made_task(name, "data", name, "features", test_subset=switch, **each)
                 for name, each in zip(("gqa", "vizwiz"), options, strict=True)]  # fmt: skip
        return _test_subset(SimpleNamespace(test_subset=switch), tasks)

    assert told("full", {}, {}) == "full"
    assert told("full", {"limit_test": 100}, {"limit_test": 100}) == "100"
    assert told("full", {"limit_test": 100}, {}) == "gqa 100, vizwiz full"
    assert told({"gqa": 4000}, {}, {}) == "gqa 4000"
    assert told({"gqa": 4000}, {"limit_test": 50}, {"limit_test": 50}) == "50"
    assert (
        told("full", {"test_ids": "/home/someone/a.json", "limit_test": 5}, {}) == "gqa 5 of ids of a.json, vizwiz full"
    )


@pytest.mark.parametrize(
    ("subset", "text"),
    [
        ("full", "full"),
        (4000, "4000"),
        ("/home/someone/ids.json", "ids of ids.json"),
        ({"gqa": 4000, "vizwiz": "full", "vqav2": "/x/y.json"}, "gqa 4000, vizwiz full, vqav2 ids of y.json"),
    ],
)
def test_a_test_subset_is_told_without_folders(subset, text: str):
    assert subset_text(subset) == text
