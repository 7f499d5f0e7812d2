import hashlib
import json
import re
from pathlib import Path

import lightning as L
import pytest
import torch

from coin_lightning.backbones import tiny
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.tasks.base import InstructionTask


@pytest.fixture
def make(write_task, tmp_path, backbone):
    """A connected task over 8 training and 5 test rows, unread; options go to `InstructionTask`."""
    root = write_task()

    def build(model=backbone, **options) -> InstructionTask:
        task = InstructionTask("toy", root, "Toy", tmp_path / "features", **{"batch_size": 3, **options})
        task.connect(model, seed=1, position=2)
        return task

    return build


@pytest.fixture
def task(make) -> InstructionTask:
    made = make()
    made.read()
    made.compute_features()
    return made


def spoil(task: InstructionTask, **changes: object) -> None:
    """Overwrite fields of training row 1 and test row 1."""
    for file in (task.train_file, task.test_file):
        rows = json.loads(file.read_text())
        rows[1] |= changes
        file.write_text(json.dumps(rows))


def problems_of(call) -> list[str]:
    with pytest.raises(DataError) as refusal:
        call()
    return refusal.value.problems


@pytest.mark.parametrize("key", ["max_new_tokens", "epochs", "batch_size", "answer_batch_size"])
def test_counts_below_one_are_refused(key):
    with pytest.raises(ConfigError, match=f"task.toy.{key}=0 must be at least 1"):
        InstructionTask("toy", "data", "Toy", "features", **{key: 0})


def test_rows_and_references_are_read_together(task):
    assert [row.id for row in task.train_rows] == [f"n{at}" for at in range(8)]
    assert [row.id for row in task.test_rows] == [f"t{at}" for at in range(5)]
    assert task.references[0] == {"answer": "red", "image": "red.png"}
    assert task.references[2] == {"answer": "blue"}


def test_subsets_keep_rows_and_references_together(make):
    task = make(limit_test=2, fraction=0.5)
    task.read()
    assert len(task.train_rows) == 4
    by_id = {f"t{at}": colour for at, colour in enumerate(("red", "green", "blue", "white", "black"))}
    assert [reference["answer"] for reference in task.references] == [by_id[row.id] for row in task.test_rows]
    again, other = make(limit_test=2, fraction=0.5), make(limit_test=2, fraction=0.5, subset_seed=1)
    again.read()
    other.read()
    assert again.train_rows == task.train_rows
    assert other.train_rows != task.train_rows


def test_problems_of_both_files_are_listed_also_outside_the_subset(make):
    task = make(limit_test=1, limit_train=1)
    spoil(task, image="../x.png", answer="")
    problems = problems_of(task.read)
    assert [line.split(":")[0] for line in problems] == [f"{task.train_file} row 1", f"{task.test_file} row 1"]
    spoil(task, image="green.png")
    assert problems_of(task.read) == [f"{task.test_file} row 1: field 'answer' is missing"]


def test_a_missing_file_does_not_hide_the_problems_of_the_other(make):
    task = make()
    spoil(task, image=3)
    task.train_file.unlink()
    problems = problems_of(task.read)
    assert f"{task.train_file}: file is missing" in problems[0]
    assert len(problems) == 2


def test_rows_that_do_not_fit_the_context_are_listed_with_their_lengths(make):
    task = make(model=tiny.load(max_length=60), max_new_tokens=8, cache_features=False)
    rows = json.loads(task.train_file.read_text())
    rows[2]["conversations"][1]["value"] = "x" * 70  # row 2 has no picture
    task.train_file.write_text(json.dumps(rows))
    task.read()
    problems = problems_of(task.check)
    question = len("user\nSay so so 2.") + 1 + 1 + 1 + 1 + len("assistant\n")  # with <start> <end> newline <start>
    assert problems[0] == (
        f"{task.train_file} row 2: {question + 71} tokens with an answer of 71 tokens do not fit "
        "backbone.max_length=60; raise it or shorten the row"
    )
    assert all("8 answer tokens do not fit" in line for line in problems[1:])
    assert [line.split(":")[0][-5:] for line in problems[1:]] == [
        row.where[-5:] for row in task.test_rows if len(task.encoder.encode(row)[0]) > 60 - 8
    ]


def test_a_row_that_just_fits_passes(make):
    task = make(cache_features=False)
    task.read()
    longest = max(len(task.encoder.encode(row)[0]) for row in task.train_rows)
    asked = max(len(task.encoder.encode(row)[0]) for row in task.test_rows) + task.max_new_tokens
    task.encoder.backbone.max_length = max(longest, asked)
    task.check()
    task.encoder.backbone.max_length -= 1
    assert len(problems_of(task.check)) >= 1


@pytest.mark.parametrize("cached", [True, False])
def test_broken_pictures_are_listed_with_a_row_that_uses_them(make, cached):
    task = make(cache_features=cached)
    for name in ("red", "green"):
        (task.image_root / f"{name}.png").write_bytes(b"no picture")
    task.read()
    problems = problems_of(task.check)
    assert len(problems) == 2
    assert all(re.match(f"{task.train_file} row [0167]: ", line) for line in problems)
    assert f"{task.image_root}/red.png: picture cannot be opened" in "\n".join(problems)


def test_features_are_computed_once_per_picture_and_shared(task, make):
    assert len(task.encoder.store) == 4  # red, green, white, black; the rows with blue and orange carry no picture
    assert task.missing_features() == []
    second = make()
    second.read()
    done: list[int] = []
    second.compute_features(done.append)
    assert done == []
    pixels = torch.stack([task.encoder.backbone.pixels(_open(task.image_root / "red.png"))])
    expected = task.encoder.backbone.encode_pictures(pixels)[0]
    assert torch.allclose(task.encoder.picture("red.png").float(), expected.float(), atol=2e-3)


def _open(path: Path):
    from coin_lightning.backbones.pictures import open_picture

    return open_picture(path)


def test_progress_is_reported_and_without_a_store_nothing_is_computed(make):
    task, done = make(), []
    task.read()
    task.compute_features(done.append)
    assert sum(done) == 4
    uncached = make(cache_features=False)
    uncached.read()
    uncached.compute_features(done.append)
    assert uncached.missing_features() == []
    assert sum(done) == 4


def test_a_cache_that_would_grow_too_large_is_refused_before_anything_is_computed(make):
    task = make(max_cache_gigabytes=1e-7)  # 100 bytes; four pictures of 4 x 16 halves take 512
    task.read()
    with pytest.raises(ConfigError, match=r"task\.toy: cached features of 4 pictures take .*max_cache_gigabytes=1e-07"):
        task.compute_features()
    assert len(task.encoder.store) == 0


def test_description_names_the_files_by_their_bytes(task):
    described = task.describe()
    assert (described["train"], described["test"]) == (8, 5)
    assert described["folder"] == str(task.image_root)
    assert described["sha256"] == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (task.train_file, task.test_file)
    }


@pytest.mark.parametrize(("world", "steps"), [(1, 3), (2, 2), (3, 1)])
def test_steps_are_counted_from_the_rows(task, world, steps):
    assert task.steps_per_epoch(world) == steps  # 8 rows in batches of 3
    assert len(task.train_dataloader()) == 3


def order(task: InstructionTask) -> list[list[str]]:
    return [batch["ids"] for batch in task.train_dataloader()]


def test_a_resumed_task_gives_exactly_the_rest_of_the_batches(task):
    whole = order(task)
    assert sorted(name for batch in whole for name in batch) == [f"n{at}" for at in range(8)]
    for batch in range(3):
        task.resume_at(0, batch)
        assert order(task) == whole[batch:]
    assert order(task) == whole  # only once
    task.resume_at(1, 1)
    later = task.train_dataloader()
    later.batch_sampler.set_epoch(1)
    assert [batch["ids"] for batch in later] == _epoch(task, 1)[1:]


def _epoch(task: InstructionTask, epoch: int) -> list[list[str]]:
    loader = task.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    return [batch["ids"] for batch in loader]


class Recorder(L.LightningModule):
    """Notes the ids it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[str]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["ids"])
        return self.weight**2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*Experiment logs", "ignore:.*LeafSpec:FutureWarning"
)
def test_each_epoch_under_lightning_has_its_own_order(task, tmp_path):
    module = Recorder()
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, datamodule=task)
    epochs = [module.seen[start : start + 3] for start in (0, 3, 6)]
    task.trainer = None
    assert epochs == [_epoch(task, epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_order_depends_on_seed_and_position(make, backbone):
    orders = []
    for seed, position in ((1, 2), (1, 2), (2, 2), (1, 3)):
        task = make()
        task.connect(backbone, seed=seed, position=position)
        task.read()
        task.compute_features()
        orders.append(order(task))
    assert orders[0] == orders[1]
    assert orders[0] not in orders[2:]


def test_answers_come_the_longest_first_without_what_is_done(make):
    task = make(answer_batch_size=2, max_new_tokens=5)
    task.read()
    task.compute_features()
    batches = list(task.answer_loader())
    assert [batch["ids"] for batch in batches] == [["t4", "t3"], ["t1", "t0"], ["t2"]]
    assert {batch["max_new_tokens"] for batch in batches} == {5}
    left = [batch["ids"] for batch in task.answer_loader(frozenset(["t4", "t3", "t1"]))]
    assert left == [["t1", "t0"], ["t2"]]  # a half answered batch is asked again, with the same neighbours
    shares = [[batch["ids"] for batch in task.answer_loader(rank=rank, world_size=2)] for rank in (0, 1)]
    assert shares == [[["t4", "t3"], ["t2"]], [["t1", "t0"]]]
