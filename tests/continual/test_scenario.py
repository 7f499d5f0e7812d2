"""Orders, and what a scenario hands on to its tasks."""

from pathlib import Path

import pytest

from coin_lightning.continual.scenario import ZERO_SHOT, Experience, Scenario, ordered
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.imports.folders import ALPHABET
from coin_lightning.tasks.options import BatchOptions
from coin_lightning.tasks.sources import JsonSource
from made_tasks import made_task

NAMES = ["scienceqa", "textvqa", "imagenet", "gqa"]


def test_named_orders():
    assert ordered(NAMES, "coin", 0) == NAMES
    assert ordered(NAMES, "alphabetical", 0) == ["gqa", "imagenet", "scienceqa", "textvqa"]
    assert ordered(NAMES, "reversed", 0) == ["gqa", "imagenet", "textvqa", "scienceqa"]


def test_alphabetical_order_goes_by_the_names_and_is_not_what_coin_calls_so():
    """CoIN's scripts have Grounding fourth (fa896c9, `Train_alphabet`)."""
    names = ["scienceqa", "textvqa", "imagenet", "gqa", "vizwiz", "grounding", "vqav2", "ocrvqa"]
    published = ["gqa", "imagenet", "ocrvqa", "grounding", "scienceqa", "textvqa", "vizwiz", "vqav2"]
    assert ordered(names, "alphabetical", 0) == sorted(names) != published
    assert ordered(names, published, 0) == published == [*ALPHABET]


def test_random_order_is_a_permutation_that_the_seed_decides():
    orders = [tuple(ordered(NAMES, "random", seed)) for seed in range(20)]
    assert all(sorted(order) == sorted(NAMES) for order in orders)
    assert len(set(orders)) > 5
    assert ordered(NAMES, "random", 3) == ordered(NAMES, "random", 3)


def test_a_list_may_leave_tasks_out():
    assert ordered(NAMES, ["gqa", "scienceqa"], 0) == ["gqa", "scienceqa"]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("coins", "'coins' is unknown; use coin, alphabetical, reversed, random or a list of {names}"),
        (["gqa", "txtvqa"], "['gqa', 'txtvqa']: there is no task 'txtvqa'; did you mean textvqa?"),
        (["gqa", "zzz"], "['gqa', 'zzz']: there is no task 'zzz'; choose from {names}"),
        (["gqa", "gqa"], "['gqa', 'gqa']: has gqa more than once; name each task once"),
        ([""], "['']: there is no task ''; choose from {names}"),
        ([], "[]: names no task; give one at least of {names}"),
    ],
)
def test_a_wrong_order_is_refused_with_what_is_wrong_in_it(order: str | list[str], message: str):
    with pytest.raises(ConfigError) as refused:
        ordered(NAMES, order, 0)
    assert str(refused.value) == f"scenario.order={message.format(names='scienceqa, textvqa, imagenet, gqa')}"


SCENARIO = ("order", "builder", "notes", "joint", "train", "batches")


def scenario(write_task, tmp_path: Path, count: int = 2, **options) -> Scenario:
    root = write_task(train=8, test=5)
    own = {key: options.pop(key) for key in SCENARIO if key in options}
    options.setdefault("trains", own.get("train", True))
    names = [f"toy{at}" for at in range(count)]
    return Scenario(
        "toys", {name: made_task(name, root, "Toy", tmp_path / "features", **options) for name in names}, **own
    )


def test_tasks_stand_in_the_wanted_order(write_task, tmp_path: Path):
    assert [task.name for task in scenario(write_task, tmp_path, order="reversed").tasks] == ["toy1", "toy0"]


def test_prepare_reads_all_tasks_and_joins_their_problems(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path)
    made.prepare(backbone, seed=1)
    assert [(len(task.train_samples), len(task.test_samples)) for task in made.tasks] == [(8, 5), (8, 5)]
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
    images = len(
        {sample.image for task in made.tasks for sample in (*task.train_samples, *task.test_samples) if sample.image}
    )
    assert seen[-1][0] == images  # the second task has the same images
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


def test_train_tasks_of_a_sequence_of_the_union_and_of_nothing(write_task, tmp_path: Path):
    made = scenario(write_task, tmp_path)
    assert (made.training, made.train_tasks) == ("sequence", dict(enumerate(made.tasks, start=1)))
    tasks = {task.name: task for task in made.tasks}
    joint = Scenario("toys", tasks, joint=True, batches=BatchOptions(epochs=3, size=5))
    assert (joint.training, list(joint.train_tasks)) == ("joint", [2])
    assert (joint.train_tasks[2].name, joint.train_tasks[2].epochs, joint.train_tasks[2].batch_size) == ("joint", 3, 5)
    nothing = Scenario("toys", tasks, train=False)
    assert (nothing.training, nothing.train_tasks) == ("nothing", {})
    with pytest.raises(ConfigError, match="set one of them"):
        Scenario("toys", tasks, joint=True, train=False)


def test_joint_samples_are_those_of_all_tasks_once_prepared(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path, joint=True)
    made.prepare(backbone, seed=7)
    train_task = made.train_tasks[2]
    assert len(train_task.train_samples) == 16
    assert list(train_task.train_samples)[8:] == list(made.tasks[1].train_samples)
    assert train_task.key == "7/2"


def test_without_training_the_training_file_is_not_needed(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path, train=False)
    made.tasks[0].train_file.unlink()
    made.prepare(backbone, seed=0)
    assert [(len(task.train_samples), len(task.test_samples)) for task in made.tasks] == [(0, 5), (0, 5)]


def test_names_of_experiences(write_task, tmp_path: Path):
    task = scenario(write_task, tmp_path).tasks[0]
    assert Experience(0, None, tmp_path).name == ZERO_SHOT
    assert Experience(1, task, tmp_path).name == "toy0"


def test_notes_of_the_data_reach_the_report_once(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path, repeated_train_ids="allow", notes=["first"])
    file = made.tasks[0].train_file
    file.write_text(file.read_text().replace('"n3"', '"n0"'))
    for _ in range(2):
        made.prepare(backbone, seed=0)
    repeated = [f"toy{at}: 1 training samples have the id of an earlier sample; all are used." for at in range(2)]
    assert [note for note in made.notes if "have no image" not in note] == ["first", *repeated]
    assert len(made.notes) == 1 + 2 + 4


def test_one_source_and_one_list_of_ids_serve_all_tasks(write_task, tmp_path: Path, backbone):
    (tmp_path / "ids.json").write_text('{"toy0": ["t4"], "toy1": ["t0", "t1"]}')
    source = JsonSource(write_task(train=8, test=5))
    made = scenario(lambda **_: tmp_path / "data", tmp_path, source=source, test_ids=tmp_path / "ids.json")
    made.prepare(backbone, seed=0)
    assert [task.source for task in made.tasks] == [source, source]
    assert [[sample.id for sample in task.test_samples] for task in made.tasks] == [["t4"], ["t0", "t1"]]


def test_both_spellings_of_the_instruction_folder_are_read(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path)
    (tmp_path / "data" / "Instructions_Original").rename(tmp_path / "data" / "Instruction_Original")
    made.prepare(backbone, seed=0)
    (tmp_path / "data" / "Instructions_Original" / "Toy").mkdir(parents=True)
    with pytest.raises(DataError, match=r"Instructions_Original/Toy and .*Instruction_Original/Toy are both there"):
        made.prepare(backbone, seed=0)


def test_images_that_have_been_looked_at_are_reported_by_task(write_task, tmp_path: Path, backbone):
    made = scenario(write_task, tmp_path)
    seen: list[tuple[str, int]] = []
    made.prepare(backbone, 0, lambda task, images: seen.append((task, images)))
    totals = {name: sum(count for task, count in seen if task == name) for name in ("toy0", "toy1")}
    assert totals == {"toy0": 4, "toy1": 4}
