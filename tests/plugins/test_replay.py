"""What is kept and what is mixed in, against lists worked by hand; runs are in `contracts/test_methods.py`."""

from dataclasses import dataclass, field

import pytest

from coin_lightning.errors import ConfigError, RunError
from coin_lightning.plugins.replay import Replay
from coin_lightning.tasks.sample_format import TrainSample
from coin_lightning.tasks.sample_sequence import Samples, as_samples


def samples(task: str, count: int) -> Samples:
    return as_samples([TrainSample(f"{task}{number}", (), (), "here", task) for number in range(count)])


@dataclass
class Tasks:
    """The part of a context that replay uses."""

    data: dict[str, Samples]
    task: str = ""
    position: int = 0
    seed: int = 0
    learned: tuple[str, ...] = field(default=())

    def samples(self, task=None):
        return self.data[task or self.task]

    def joined(self, parts):
        return Samples.joined(parts)


def learn(plugin: Replay, tasks: Tasks) -> dict[str, list[str]]:
    """Ids that each task in turn learns from."""
    found = {}
    for position, task in enumerate(list(tasks.data), start=1):
        tasks.position, tasks.task = position, task
        found[task] = plugin.samples(tasks, tasks.samples()).ids
        plugin.after_experience(tasks)
    return found


def data(*sizes: int) -> Tasks:
    return Tasks({name: samples(name, size) for name, size in zip("abc", sizes, strict=False)})


def counts(ids: list[str]) -> dict[str, int]:
    return {name: sum(id_.startswith(name) for id_ in ids) for name in "abc"}


def test_each_kept_sample_comes_once_behind_the_new_ones():
    found = learn(Replay(per_task=3), data(10, 2, 8))
    assert found["a"] == [f"a{number}" for number in range(10)]
    assert found["b"][:2] == ["b0", "b1"]
    assert counts(found["b"]) == {"a": 3, "b": 2, "c": 0}
    assert counts(found["c"]) == {"a": 3, "b": 2, "c": 8}  # b has only two
    assert len(set(found["c"])) == 13
    assert set(found["b"][2:]) == {id_ for id_ in found["c"] if id_.startswith("a")}  # the buffer stays


def test_a_size_is_shared_evenly_and_shrinks_to_what_was_chosen_first():
    plugin, tasks = Replay(size=6), data(10, 10, 10)
    found = learn(plugin, tasks)
    assert counts(found["b"]) == {"a": 6, "b": 10, "c": 0}
    assert counts(found["c"]) == {"a": 3, "b": 3, "c": 10}
    kept = {task: [id_ for _, id_ in places] for task, places in plugin.memory["kept"].items()}
    assert {task: len(ids) for task, ids in kept.items()} == {"a": 2, "b": 2, "c": 2}
    assert set(kept["a"]) < {id_ for id_ in found["c"] if id_.startswith("a")}


def test_a_share_repeats_the_buffer_evenly():
    found = learn(Replay(per_task=2, share=0.5), data(6, 6, 6))
    assert counts(found["b"]) == {"a": 6, "b": 6, "c": 0}
    assert counts(found["c"]) == {"a": 3, "b": 3, "c": 6}
    again = [id_ for id_ in found["b"] if id_.startswith("a")]
    assert {again.count(id_) for id_ in again} == {3}


def test_seeds_choose_differently_and_always_the_same():
    chosen = []
    for seed in (0, 0, 1):
        tasks = data(50, 5)
        tasks.seed = seed
        chosen.append(learn(Replay(per_task=5), tasks)["b"])
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_changed_data_are_refused_by_the_sample():
    plugin, tasks = Replay(per_task=2), data(5, 5)
    learn(plugin, tasks)
    tasks.data["a"] = samples("x", 5)
    with pytest.raises(RunError, match=r"a has no sample 'a\d' at its place any more"):
        plugin.samples(tasks, tasks.samples("b"))


@pytest.mark.parametrize("sizes", [{}, {"per_task": 2, "size": 5}])
def test_one_size_is_asked_for(sizes):
    with pytest.raises(ConfigError, match=r"plugin\.replay: .* set one of them"):
        Replay(**sizes)


def test_a_buffer_too_small_for_the_tasks_is_refused():
    with pytest.raises(ConfigError, match=r"plugin\.replay\.size=2 is less than the 3 tasks: nothing would be left"):
        Replay(size=2).adapter(None, ("a", "b", "c"))
    assert Replay(size=3).adapter("config", ("a", "b", "c")) == "config"
