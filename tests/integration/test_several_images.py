"""Text-only, one-image and multi-image samples in one data set: trained, killed, continued and answered by commands."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.features import FeatureStore
from coin_lightning.tasks.samples import read_test, read_train
from results import results
from small_coin import answer_file, edit_samples, overrides, train_file, write_suite

TASKS = "vqav2,gqa"


def image(number: int) -> str:
    return f"./noise/{number % 5}.png"


def several_in_training(samples: list[dict[str, Any]]) -> None:
    """Of three samples one has no image, one has one, one has three in two turns."""
    for at, sample in enumerate(samples):
        question, answer = (part["value"].removeprefix("<image>\n") for part in sample["conversations"])
        texts = [f"<image>\n{question}", answer]
        sample["image"] = image(at)
        if at % 3 == 1:
            texts[0] = question
            del sample["image"]
        elif at % 3 == 2:
            texts = [f"<image>\n<image>\n{question}", answer, "And here?\n<image>", answer]
            sample["image"] = [image(at), image(at + 1), image(at)]
        sample["conversations"] = [
            {"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)
        ]


def several_in_tests(samples: list[dict[str, Any]]) -> None:
    """None to three images."""
    for at, sample in enumerate(samples):
        sample["image"] = [image(at + more) for more in range(at % 4)]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_suite(tmp_path_factory.mktemp("several"), test=8)
    (root / "cl_dataset" / "noise").mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(5):
        pixels = torch.randint(0, 255, (28 + 4 * number, 28, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(root / "cl_dataset" / "noise" / f"{number}.png")
    for task in TASKS.split(","):
        edit_samples(train_file(root, task), several_in_training)
        edit_samples(answer_file(root, task), several_in_tests)
    return root


@pytest.fixture(scope="module")
def run(place, suite, tmp_path_factory):
    """Runs the command into a folder of its own; gives the folder and its exit status."""
    folder = tmp_path_factory.mktemp("runs")

    def call(name: str, *more: str) -> tuple[Path, int]:
        few = ("evaluation=full", "data.limit_train=12")
        command = overrides(suite, folder / "features", folder / name, *few, *more, tasks=TASKS)
        status, text = place.runs.run(command)
        assert status in (0, -signal.SIGKILL), text
        return folder / name, status

    return call


@pytest.fixture(scope="module")
def whole(run) -> Path:
    found, status = run("whole")
    assert status == 0
    return found


def test_killed_within_a_task_and_continued_it_ends_with_the_same_bits(place, run, whole):
    for moment in ((1, "train", 3), (2, "predict", 2)):
        assert run("killed", *place.kill(*moment))[1] == -signal.SIGKILL
    found, status = run("killed")
    assert status == 0
    assert results(found) == results(whole)


def test_cached_features_give_the_bits_of_pixels(run, whole):
    pixels, status = run("pixels", "data.cache_features=false")
    assert status == 0
    assert results(pixels) == results(whole)


def answers(run: Path) -> dict[str, str]:
    lines = [line for file in sorted(run.glob("task_*/records/*.jsonl")) for line in file.read_text().splitlines()]
    return {f"{at}": json.loads(line)["prediction"] for at, line in enumerate(lines)}


def test_answers_are_those_of_each_sample_alone(run, whole):
    alone, together = (run(f"by_{size}", f"answers.batch_size={size}")[0] for size in (1, 16))
    assert answers(alone) == answers(together) == answers(whole)
    assert len(answers(alone)) == 3 * 2 * 8  # zero-shot and after each task, both tasks


def test_records_name_all_images(whole):
    file = next(whole.glob("task_02*/records/gqa.jsonl"))
    found = [json.loads(line)["reference"] for line in file.read_text().splitlines()]
    shown = {len(reference.get("images", [0] * ("image" in reference))) for reference in found}
    assert shown == {0, 1, 2, 3}


def test_a_wrong_number_of_placeholders_is_told_before_anything_is_computed(place, suite, tmp_path):
    other = write_suite(tmp_path / "other")
    edit_samples(
        train_file(other, "gqa"), lambda samples: samples[4].update(image=["./shared/red.jpg", "./shared/blue.jpg"])
    )
    status, text = place.runs.run(overrides(other, tmp_path / "features", tmp_path / "run", tasks="gqa"))
    assert status == 1
    assert f"{train_file(other, 'gqa')} sample 4: has 1 <image>, but field 'image' names 2 images; give each" in text


def test_logits_are_those_of_the_library_from_pixels(suite, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "bfloat16", torch.float32)  # the library does not round features
    backbone = tiny.load()
    images = suite / "cl_dataset"
    encoder = Encoder(backbone, images, None)
    samples = read_train(train_file(suite, "gqa"), images)[:6]
    batch = encoder.train_batch(samples)
    assert len(batch["pixels"]) == sum(len(sample.media) for sample in samples) == 8
    shown = backbone.project(torch.cat(backbone.encode_images(batch["pixels"])), [()] * 8)
    logits, _ = backbone.answer_logits(backbone.hidden_states(batch["input_ids"], shown), batch["labels"])
    pixels = torch.cat([each["pixel_values"] for each in batch["pixels"]])
    theirs = backbone.model(input_ids=batch["input_ids"], pixel_values=pixels).logits
    assert torch.allclose(logits, theirs[:, :-1][batch["labels"][:, 1:] != IGNORE], atol=1e-5)


def test_features_of_several_images_come_from_the_store_in_their_order(suite, tmp_path):
    backbone, images = tiny.load(), suite / "cl_dataset"
    samples = read_test(answer_file(suite, "gqa"), images)
    plain, store = Encoder(backbone, images, None), FeatureStore(tmp_path / "store", backbone.family.width)
    for path in samples.images:
        pixels = backbone.pixels(Image.open(images / path))
        store.add([plain.hash_of(path)], backbone.encode_images([pixels]))
    features = Encoder(backbone, images, store).answer_batch(samples)["features"]
    assert torch.equal(features, torch.cat(backbone.encode_images(plain.answer_batch(samples)["pixels"])))
