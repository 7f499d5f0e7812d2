"""Images of more than 8 bits on their way through run and verify."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coin_lightning.assets import file_sha256
from coin_lightning.backbones import tiny
from coin_lightning.cli import data_verify
from made_tasks import made_task
from small_coin import edit_samples, overrides, train_file, write_suite

RAMP = np.tile(np.linspace(0, 65535, 64), (48, 1)).astype(np.uint16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A suite whose first GQA samples show a 16-bit ramp, and the same with 8 bits."""
    root = write_suite(tmp_path / "suite", train=4, test=2)
    Image.fromarray(RAMP).save(root / "cl_dataset" / "deep.png")
    Image.fromarray(np.round(RAMP / 257).astype(np.uint8)).save(root / "cl_dataset" / "plain.png")

    def show(samples):
        samples[0]["image"], samples[1]["image"] = "deep.png", "plain.png"

    edit_samples(train_file(root, "gqa"), show)
    return root


@pytest.mark.parametrize("cached", [True, False])
def test_a_ramp_reaches_the_model_as_its_eight_bit_copy_does(root, tmp_path, cached):
    backbone = tiny.load()
    task = made_task("gqa", root, "GQA", tmp_path / "features", cache_features=cached)
    task.connect(backbone)
    if cached:  # features that an earlier version made of the clipped image
        store, file = task.encoder.store, root / "cl_dataset" / "deep.png"
        store.add([file_sha256(file)], torch.full((1, backbone.family.feature_count(()), backbone.family.width), 7.0))
    (task.image_root / "GQA" / "testdev_balanced_questions.json").write_text('{"1000": {"answer": "a"}}')
    edit_samples(task.test_file, lambda samples: samples.pop())
    task.truth = lambda samples, images: [{"answer": "a"} for _ in samples]
    task.read()
    task.check()
    task.compute_features()
    deep, plain = (
        task.encoder.features(name) if cached else task.encoder.pixels(name)["pixel_values"]
        for name in ("deep.png", "plain.png")
    )
    assert torch.equal(deep, plain)
    assert deep.float().std() > 0


def test_run_and_verify_refuse_a_scale_without_end_and_tell_warnings(place, root, tmp_path, capsys):
    Image.fromarray(RAMP.astype(np.float32)).save(root / "cl_dataset" / "float.tif")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 5, 6, 7])
    palette.save(root / "cl_dataset" / "palette.png", transparency=b"\x10\x80")

    def show(samples):
        samples[2]["image"], samples[3]["image"] = "float.tif", "palette.png"

    edit_samples(train_file(root, "gqa"), show)
    command = overrides(root, tmp_path / "features", tmp_path / "run", tasks="gqa")
    status, text = place.runs.run(command)
    assert status == 1
    assert "GQA/train.json sample 2: " in text
    assert "float.tif: nothing says which value is white in this image (mode F of TIFF)" in text
    assert data_verify.main([*command, f"output={tmp_path / 'page.html'}"]) == 1
    (task,) = json.loads((tmp_path / "page.json").read_text())["tasks"]
    found = {each["kind"]: each for each in task["findings"]}
    assert "float.tif: nothing says" in found["image"]["examples"][0]
    assert "train.json sample 3: palette.png: Palette images" in found["image_warning"]["examples"][0]

    Image.fromarray((RAMP >> 8).astype(np.uint8)).save(root / "cl_dataset" / "float.tif")
    status, text = place.runs.run(command)
    assert status == 0, text
    assert "UserWarning" not in text
    notes = json.loads((tmp_path / "run" / "matrix.json").read_text())["notes"]
    assert any("Pillow warns of 1 images, as of palette.png: Palette images" in note for note in notes)
