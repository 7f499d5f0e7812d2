"""What `matrix.json` tells beside scores: values of several tasks in one text, and files by their names only."""

from types import SimpleNamespace

import pytest

from coin_lightning.cli.facts import by_task, subset_text


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
