"""The same samples through `datasets` as from JSON: ids, draws, batches; and clear errors where there are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.dataset_samples import DatasetSamples, DatasetsSource
from made_tasks import made_task

datasets = pytest.importorskip("datasets")
KINDS = ("disk", "parquet", "shards", "arrow")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def convert(root: Path, kind: str) -> Path:
    """Write the samples of `write_task` once more, another way, below `<root>/../<kind>`."""
    target = root.parent / kind / "Instruction_Original" / "Toy"
    target.mkdir(parents=True)
    for split in ("train", "test"):
        samples: list[Any] = json.loads((root / "Instructions_Original" / "Toy" / f"{split}.json").read_text())
        data = datasets.Dataset.from_list(samples)
        if kind == "disk":
            data.save_to_disk(target / split)
        elif kind == "parquet":
            data.to_parquet(target / f"{split}.parquet")
        elif kind == "shards":
            for part in range(2):
                data.shard(2, part, contiguous=True).to_parquet(target / f"{split}-0000{part}-of-00002.parquet")
        else:
            with datasets.arrow_writer.ArrowWriter(path=str(target / f"{split}.arrow")) as writer:
                writer.write_table(data.data.table)
                writer.finalize()
    return root.parent / kind


def seen(task: InstructionTask, backbone) -> list[Any]:
    task.connect(backbone, seed=1, position=2)
    task.read()
    task.check()
    return [
        task.train_samples.ids,
        [(sample.id, sample.turns, sample.media) for sample in task.train_samples],
        task.references,
        [batch["ids"] for batch in task.train_dataloader()],
        [batch["ids"] for batch in task.answer_loader()],
        task.subsets(),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_same_samples_same_ids_draws_and_batches(write_task, tmp_path, backbone, kind):
    root = write_task(train=30, test=9)
    options = {"batch_size": 3, "fraction": 0.5, "limit_test": 6, "cache_features": False}
    ours = made_task("toy", root, "Toy", tmp_path / "features", **options)
    source = DatasetsSource(convert(root, kind))
    theirs = made_task("toy", root, "Toy", tmp_path / "features", source=source, **options)
    assert seen(theirs, backbone) == seen(ours, backbone)
    assert set(theirs.describe()["sha256"]) == {"train", "test"}


def test_the_hash_is_that_of_the_samples_not_of_their_files(write_task):
    root = write_task()
    hashes = set()
    for kind in ("disk", "parquet"):
        samples = DatasetsSource(convert(root, kind)).samples("Toy", "Instructions_Original", "train")
        hashes.add(samples.sha256)
        assert "image" not in list(samples)[2]  # nor None
        assert samples.sha256 in hashes
    assert len(hashes) == 1


def test_problems_name_dataset_and_sample(write_task, tmp_path, backbone):
    root = write_task()
    file = root / "Instructions_Original" / "Toy" / "train.json"
    samples = json.loads(file.read_text())
    samples[1]["conversations"][1]["value"] = " "
    file.write_text(json.dumps(samples))
    place = convert(root, "parquet")
    task = made_task("toy", root, "Toy", tmp_path / "features", source=DatasetsSource(place), cache_features=False)
    task.connect(backbone)
    with pytest.raises(DataError) as refusal:
        task.read()
    assert refusal.value.problems == [
        f"{place}/Instruction_Original/Toy/train sample 1: conversations[1] has an empty answer"
    ]


def test_an_empty_data_set_is_refused():
    with pytest.raises(DataError, match="here: must hold samples, found none"):
        list(DatasetSamples(datasets.Dataset.from_list([]), "train", "here"))


def test_a_folder_without_the_split_and_a_broken_file(write_task):
    place = convert(write_task(), "parquet")
    with pytest.raises(
        DataError, match=r"Toy: has neither val\.parquet, .* written by save_to_disk; check source\.path"
    ):
        DatasetsSource(place).samples("Toy", "Instructions_Original", "val")
    (place / "Instruction_Original" / "Toy" / "test.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"Toy/test: cannot be loaded with datasets .*; write the file anew"):
        DatasetsSource(place).samples("Toy", "Instructions_Original", "test")
    with pytest.raises(DataError, match="folder is missing, and so is"):
        DatasetsSource("/no/such/folder").samples("Toy", "Instructions_Original", "train")


def test_without_network_the_error_says_what_to_do(monkeypatch):
    def unreachable(*_: object, **__: object):
        raise ConnectionError("Couldn't reach 'someone/coin' on the Hub (OfflineModeIsEnabled)\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError) as refusal:
        DatasetsSource("someone/coin").samples("GQA", "Instructions_Original", "train")
    assert str(refusal.value) == (
        "someone/coin/Instructions_Original/GQA/train.json: cannot be loaded with datasets (Couldn't reach "
        "'someone/coin' on the Hub (OfflineModeIsEnabled)); without network download the repository first and set "
        "source.path to its folder"
    )


def test_what_is_asked_of_the_hub(monkeypatch):
    asked = {}

    def remember(path: str, **options: object):
        asked.update(options, path=path)
        return datasets.Dataset.from_list([{"id": 1}])

    monkeypatch.setattr(datasets, "load_dataset", remember)
    source = DatasetsSource("someone/coin", files="{directory}/{instructions}-{split}*.parquet", revision="v2")
    assert list(source.samples("GQA", "Instructions_Diverse", "train")) == [{"id": 1}]
    assert asked == {
        "path": "someone/coin", "split": "train", "revision": "v2",
        "data_files": {"train": "GQA/Instructions_Diverse-train*.parquet"},
    }  # fmt: skip
    assert "trust_remote_code" not in asked


@pytest.mark.parametrize(
    ("path", "local"),
    [("someone/coin", False), ("/data/coin", True), ("./coin", True), ("a/b/c", True), ("coin", False)],
)
def test_folders_and_ids(path, local):
    assert DatasetsSource(path).is_local is local
