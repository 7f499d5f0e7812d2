"""Orders, and what a scenario hands on to its tasks."""

from functools import partial
from pathlib import Path

import pytest

from coin_lightning.continual.scenario import ZERO_SHOT, Experience, Scenario, ordered
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.tasks.base import InstructionTask

NAMES = ["scienceqa", "textvqa", "imagenet", "gqa"]


def test_named_orders():
    assert ordered(NAMES, "coin", 0) == NAMES
    assert ordered(NAMES, "alphabetical", 0) == ["gqa", "imagenet", "scienceqa", "textvqa"]
    assert ordered(NAMES, "reversed", 0) == ["gqa", "imagenet", "textvqa", "scienceqa"]


def test_random_order_is_a_permutation_that_the_seed_decides():
    orders = [tuple(ordered(NAMES, "random", seed)) for seed in range(20)]
    assert all(sorted(order) == sorted(NAMES) for order in orders)
    assert len(set(orders)) > 5
    assert ordered(NAMES, "random", 3) == ordered(NAMES, "random", 3)


def test_a_list_may_leave_tasks_out():
    assert ordered(NAMES, ["gqa", "scienceqa"], 0) == ["gqa", "scienceqa"]


@pytest.mark.parametrize("order", ["coins", ["gqa", "gqa"], ["gqa", "okvqa"], []])
def test_a_wrong_order_is_refused_with_the_names(order):
    with pytest.raises(ConfigError, match=r"scenario\.order=.*scienceqa, textvqa, imagenet, gqa"):
        ordered(NAMES, order, 0)


def scenario(write_task, tmp_path: Path, count: int = 2, **options) -> Scenario:
    root = write_task(train=8, test=5)
    tasks = {f"toy{at}": partial(InstructionTask, name=f"toy{at}", directory="Toy") for at in range(count)}
    return Scenario("toys", tasks, root, tmp_path / "features", **options)


def test_tasks_get_the_common_settings_and_keep_their_own(write_task, tmp_path: Path):
    root = write_task()
    tasks = {
        "a": partial(InstructionTask, name="a", directory="Toy"),
        "b": partial(InstructionTask, name="b", directory="Toy", batch_size=2, epochs=3),
    }
    made = Scenario("toys", tasks, root, tmp_path / "features", batch_size=4, epochs=1, order="reversed")
    assert [task.name for task in made.tasks] == ["b", "a"]
    assert [(task.batch_size, task.epochs) for task in made.tasks] == [(2, 3), (4, 1)]


def test_prepare_reads_all_tasks_and_joins_their_problems(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path)
    made.prepare(backbone, seed=1)
    assert [(len(task.train_rows), len(task.test_rows)) for task in made.tasks] == [(8, 5), (8, 5)]
    assert [task.key for task in made.tasks] == ["1/1", "1/2"]
    made.tasks[0].train_file.write_text("{")
    with pytest.raises(DataError) as caught:
        made.prepare(backbone, seed=1)
    assert len(caught.value.problems) == 2


def test_features_are_computed_once_for_all_tasks(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path)
    made.prepare(backbone, seed=0)
    seen: list[tuple[int, int]] = []
    made.compute_features(lambda done, total: seen.append((done, total)))
    pictures = len({row.image for task in made.tasks for row in (*task.train_rows, *task.test_rows) if row.image})
    assert seen[-1][0] == pictures  # the second task has the same pictures
    again: list[tuple[int, int]] = []
    made.prepare(backbone, seed=0)
    made.compute_features(lambda done, total: again.append((done, total)))
    assert again == []


def test_builder_is_called_when_there_is_one(write_task, tmp_path: Path):
    calls: list[int] = []
    made = scenario(write_task, tmp_path, builder=lambda: calls.append(1))
    assert calls == []
    made.build()
    assert calls == [1]


def test_names_of_experiences(write_task, tmp_path: Path):
    task = scenario(write_task, tmp_path).tasks[0]
    assert Experience(0, None, tmp_path).name == ZERO_SHOT
    assert Experience(1, task, tmp_path).name == "toy0"
