"""The table of tasks fits the rest of the project."""

from hydra.utils import get_object
from omegaconf import OmegaConf

from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.benchmarks.mini_suite import TASKS
from coin_lightning.config_folder import conf_dir


def test_tasks_folders_and_splits_are_coin_minis_and_in_its_order():
    assert [(task.key, task.folder, task.evaluation) for task in RAW_TASKS.values()] == [
        (task.key, task.folder, task.evaluation) for task in TASKS
    ]
    assert list(RAW_TASKS) == [task.key for task in RAW_TASKS.values()]


def test_images_lie_where_coin_minis_do():
    for task, mini in zip(RAW_TASKS.values(), TASKS, strict=True):
        for split in ("train", "test"):
            top = mini.image_path(split, 1).removeprefix("./").split("/")[0]
            assert {folder.split("/")[0] for folder in task.images} == {top}


def test_truths_are_what_the_task_configs_read():
    for task in RAW_TASKS.values():
        config = OmegaConf.load(conf_dir() / "task" / f"{task.key}.yaml")[task.key]
        assert config.directory == task.folder
        assert config.get("data", {}).get("test_split", "test") == task.evaluation
        truth = config.get("truth", {"_target_": "coin_lightning.tasks.truth.SampleFields"})
        read = [value for value in vars(get_object(truth["_target_"])()).values() if str(value).endswith(".json")]
        assert sorted(task.truths) == sorted(read)


def test_every_task_says_what_it_expects():
    for task in RAW_TASKS.values():
        assert task.layout
        assert task.raw_folders
        assert len(set(task.raw_folders)) == len(task.raw_folders)
