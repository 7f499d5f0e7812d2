"""Batches of a real fit are padded no more than exact lengths make necessary."""

import json
from pathlib import Path

from coin_lightning.backbones import tiny
from coin_lightning.tasks.sampler import LengthBucketSampler
from made_tasks import made_task
from small_coin import edit_samples, train_file, write_suite


def mix(samples: list[dict]) -> None:
    """Long texts without an image beside short ones with one: by characters they would share their batches."""
    for at, sample in enumerate(samples):
        if at % 2:
            sample.pop("image", None)
            sample["conversations"][0]["value"] = "word " * (at % 5 + 1)


def test_batches_of_a_fit_are_those_of_exact_lengths(place, tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=40, test=2)
    edit_samples(train_file(root, "imagenet"), mix)
    command = place.command("padding", f"paths.data={root}", *place.record("padding_seen"), tasks="imagenet")
    status, text = place.runs.run(command)
    assert status == 0, text
    seen = json.loads((place.folder / "padding_seen" / "1.0.json").read_text())
    task = made_task("imagenet", root, "ImageNet", tmp_path / "features", cache_features=False)
    task.connect(tiny.load())
    task.read()
    lengths = {sample.id: len(task.encoder.encode(sample)[0]) for sample in task.train_samples}
    assert seen["widths"] == [max(lengths[id_] for id_ in batch) for batch in seen["batches"]]
    # the same order of batches drawn with the lengths of the encoded samples
    ids = list(lengths)
    sampler = LengthBucketSampler(list(lengths.values()), 4, "0/1/imagenet")
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        planned = [[ids[sample] for sample in batch] for batch in sampler.plan()]
        assert seen["batches"][10 * epoch : 10 * epoch + 10] == planned
    needless = sum(
        4 * max(lengths[id_] for id_ in batch) - sum(lengths[id_] for id_ in batch) for batch in seen["batches"]
    )
    assert needless <= 2 * 4 * (max(lengths.values()) - min(lengths.values()))  # per epoch one walk over all lengths
