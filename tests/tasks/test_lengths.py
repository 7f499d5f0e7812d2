"""Lengths are those of the encoded samples, after whatever change, and are counted once."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coin_lightning.backbones import tiny
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.tasks import lengths
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.lengths import sample_lengths
from made_tasks import made_task


def write_mixed(root: Path, count: int = 30) -> Path:
    """Samples with and without image, of one to four turns, with markers, odd blanks and boxes in their texts."""
    images, folder = root / "cl_dataset", root / "Instructions_Original" / "Toy"
    images.mkdir(parents=True)
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 28)).save(images / "wide.png")
    Image.new("RGB", (20, 90)).save(images / "tall.png")
    words = ["Wo", "ist", "  ", "<|im_end|>", "ü\u4e2d", "\n", "</s>?", "x" * 9]
    train, test = [], []
    for at in range(count):
        image = {"image": ("wide.png", "tall.png")[at % 2]} if at % 3 else {}
        mark = "<image>\n" if image else ""
        parts = []
        for turn in range(at % 4 + 1):
            question = ("" if turn else mark) + "Q" + " ".join(words[(at + turn) % 8 :]) + "?"
            answer = "[0.1,0.25,0.4,1.0]" if image and at % 5 == 0 else f"{words[at % 8]} {at * 37}"
            parts += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        train.append({"id": at, **image, "conversations": parts})
        test.append({"id": at, **image, "text": f"Was {' '.join(words[: at % 8])} {at}?", "answer": "a"})
    (folder / "train.json").write_text(json.dumps(train))
    (folder / "test.json").write_text(json.dumps(test))
    return root


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., InstructionTask]:
    """A task on the mixed samples that has been read and checked."""
    write_mixed(tmp_path / "data")

    def build(prompt: str = "chatml", max_length: int = 400, numbers: str | None = None, **options) -> InstructionTask:
        task = made_task("toy", tmp_path / "data", "Toy", tmp_path / "features", cache_features=False, **options)
        boxes = None if numbers is None else {"numbers": numbers, "frame": "original"}
        task.connect(tiny.load(prompt=prompt, max_length=max_length, boxes=boxes))
        task.read()
        return task

    return build


def agrees(task: InstructionTask) -> None:
    for samples in (task.train_samples, task.test_samples):
        assert task._lengths(samples).tolist() == [len(task.encoder.whole(sample)[0]) for sample in samples]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples are really counted, call by call."""
    seen: list[int] = []
    real = lengths.counted
    monkeypatch.setattr(
        lengths, "counted", lambda part, samples, encoder: seen.append(len(samples)) or real(part, samples, encoder)
    )
    return seen


@pytest.mark.parametrize("prompt", ["chatml", "vicuna_v1"])
@pytest.mark.parametrize("numbers", [None, "percent_tags"])
@pytest.mark.parametrize("again", [False, True])
def test_they_are_the_lengths_of_the_encoded_samples(make, counts, prompt, numbers, again):
    for _ in range(1 + again):
        task = make(prompt, numbers=numbers)
        agrees(task)
    assert counts == [30, 30]
    assert len(set(task._lengths(task.train_samples).tolist())) > 10


def test_no_change_is_missed(make, counts, tmp_path, monkeypatch):
    agrees(make())
    changes = [
        {"prompt": "vicuna_v1"}, {"numbers": "percent_tags"}, {"numbers": "thousand_tags"},
        {"numbers": "percent_tags", "boxes": "as_written"},
    ]  # fmt: skip
    for change in changes[:3]:
        agrees(make(**change))
    agrees(make(**changes[3]))
    assert counts == [30, 30] * 4  # boxes as written are those of the first
    Image.new("RGB", (90, 20)).save(tmp_path / "data" / "cl_dataset" / "tall.png")  # its boxes are other numbers now
    agrees(make(numbers="percent_tags"))
    assert counts == [30, 30] * 5
    task = make()
    backbone = task.encoder.backbone
    backbone.family.config.image_seq_length += 3
    backbone.family = Llava(backbone.family.config, backbone.family.processor, backbone.tokenizer)
    agrees(task)
    task = make()
    task.encoder.backbone.tokenizer.add_tokens(["ist", "37"])
    agrees(task)
    assert counts == [30, 30] * 7
    file = task.train_file
    file.write_text(file.read_text().replace("37", "3777"))
    agrees(make())
    assert counts == [*[30, 30] * 7, 30]


def test_boxes_as_written_are_counted_apart_where_images_differ_in_size(make, monkeypatch):
    """Both need the sizes of the images there, and only one the lengths of converted boxes."""
    monkeypatch.setattr(
        lengths, "counted", lambda part, samples, encoder: np.full(len(samples), encoder.converts_boxes)
    )
    found = []
    for boxes in ("converted", "as_written"):
        task = make(numbers="percent_tags", boxes=boxes)
        task.encoder.backbone.family.alike = False
        monkeypatch.setattr(task.encoder.backbone.family, "grid", lambda size: (), raising=False)
        found.append(set(task._lengths(task.train_samples).tolist()))
    assert found == [{1}, {0}]


def test_subsets_share_what_is_counted(make, counts):
    agrees(make(limit_train=10, limit_test=4))
    agrees(make(limit_train=20, limit_test=4, subset_seed=5))
    agrees(make())
    assert counts[:2] == [10, 4]
    assert sum(counts) == 60
    agrees(make(limit_train=7))
    assert sum(counts) == 60


def test_cut_samples_are_sorted_by_what_is_left(make):
    task = make(max_length=60, long_samples="truncate", batch_size=4)
    task.train_dataloader()
    assert task._sampler.lengths == [len(task.encoder.encode(sample)[0]) for sample in task.train_samples]
    assert max(task._sampler.lengths) == 60
    agrees(task)


def test_many_samples_are_counted_by_several_processes_to_the_same_end(make, monkeypatch):
    monkeypatch.setattr(lengths, "MANY", 10)
    monkeypatch.setattr(lengths, "TOGETHER", 4)
    agrees(make())


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_counted_anew(make, counts, tmp_path, damage):
    agrees(make())
    for file in (tmp_path / "features" / "lengths").glob("*.npy"):
        file.write_bytes(damage)
    agrees(make())
    agrees(make())
    assert counts == [30, 30] * 2


def test_a_place_where_nothing_can_be_written_costs_only_time(make, tmp_path):
    task = make()
    (tmp_path / "features").mkdir(exist_ok=True)
    (tmp_path / "features" / "lengths").write_text("a file")
    with pytest.warns(
        UserWarning, match="lengths of samples cannot be kept here .* every start counts all tokens again"
    ):
        agrees(task)


def test_samples_of_several_files_have_the_lengths_of_each(make, tmp_path, counts):
    from coin_lightning.tasks.sample_sequence import Samples

    first, second = make(), make(limit_train=5)
    joined = Samples.joined([first.train_samples, second.train_samples]).select([33, 2, 0])
    encoder: Encoder = first.encoder
    found = sample_lengths(joined, encoder, tmp_path / "features")
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [len(encoder.whole(sample)[0]) for sample in joined]
