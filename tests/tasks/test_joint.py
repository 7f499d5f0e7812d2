"""The union of several tasks: its samples, its batches, and what it needs of its members."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coin_lightning.errors import ConfigError
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.joint import JointTask
from coin_lightning.tasks.options import BatchOptions
from coin_lightning.tasks.sample_sequence import Samples
from coin_lightning.tasks.samples import TrainSample
from made_tasks import made_task


@pytest.fixture
def members(write_task, tmp_path: Path, backbone) -> list[InstructionTask]:
    root = write_task(train=8)
    made = [made_task(name, root, "Toy", tmp_path / "features") for name in ("a", "b")]
    for task in made:
        task.connect(backbone)
        task.read()
        task.check()
        task.compute_features()
    return made


def test_it_has_the_samples_of_all_members(members):
    union = JointTask(members, BatchOptions(size=3, epochs=2))
    union.join(seed=5, position=2)
    assert (union.name, union.batch_size, union.epochs, union.key) == ("joint", 3, 2, "5/2")
    assert list(union.train_samples) == [*members[0].train_samples, *members[1].train_samples]
    assert union.steps_per_epoch() == 6
    assert union.image_root == members[0].image_root


def test_batches_mix_the_members_and_hold_each_sample_once(members):
    union = JointTask(members, BatchOptions(size=4))
    union.join(0, 2)
    batches = list(union.train_dataloader())
    ids = sorted(id_ for batch in batches for id_ in batch["ids"])
    assert ids == sorted([sample.id for task in members for sample in task.train_samples])
    with_image = [batch for batch in batches if "features" in batch]
    assert sum(len(batch["features"]) // 4 for batch in with_image) == sum(
        sample.image is not None for sample in union.train_samples
    )


def test_each_step_mixes_tasks_of_unlike_length(members):
    """All samples of the second task are longer than any of the first."""
    short = list(members[0].train_samples) * 10
    long = [_longer(sample) for sample in short]
    members[0].train_samples, members[1].train_samples = short, long
    union = JointTask(members, BatchOptions(size=16))
    union.join(0, 2)
    members[0].batches = BatchOptions(size=16)
    members[0].learn_from(Samples.joined([short, long]))  # as replay gives them
    for task in (union, members[0]):
        shares = [sum(id_.endswith("long") for id_ in batch["ids"]) for batch in task.train_dataloader()]
        assert len(shares) == 10
        assert 0 < min(shares) <= max(shares) < 16


def _longer(sample: TrainSample) -> TrainSample:
    (turn,) = sample.turns
    return replace(sample, id=f"{sample.id}long", turns=(replace(turn, question=turn.question + " and so on" * 5),))


def test_a_sample_is_read_as_by_its_own_task(members):
    union = JointTask(members, BatchOptions(size=4))
    union.join(0, 2)
    sample = members[1].train_samples[3]
    assert union.encoder.encode(sample) == members[1].encoder.encode(sample)
    assert torch.equal(union.encoder.features(sample.image), members[1].encoder.features(sample.image))


@pytest.mark.parametrize("option", [{"boxes": "as_written"}, {"long_samples": "truncate"}, {"cache_features": False}])
def test_members_that_are_read_otherwise_are_refused(members, write_task, tmp_path: Path, option):
    other = made_task("c", members[0].data.root, "Toy", tmp_path / "features", **option)
    ((key, value),) = option.items()
    with pytest.raises(ConfigError, match=rf"task\.a and task\.c: .* {key} is '.*' and '{value}'; give both the same"):
        JointTask([*members, other], BatchOptions(size=4))


def test_members_below_different_roots_are_refused(members, tmp_path: Path):
    other = made_task("c", tmp_path / "elsewhere", "Toy", tmp_path / "features")
    with pytest.raises(
        ConfigError, match=r"task\.a and task\.c: .* image_root is '.*data/cl_dataset' and '.*elsewhere/cl_dataset'"
    ):
        JointTask([*members, other], BatchOptions(size=4))
