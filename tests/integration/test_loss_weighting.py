"""`protocol.loss_weighting=exact`: a step has the same gradient however it is made up of batches and ranks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ranks import together
from small_coin import edit_samples, overrides, train_file, write_suite

WAYS = {"8x1": ["batches.size=8"], "2x4": ["batches.size=2", "trainer.accumulate_grad_batches=4"]}
RANKS = ["batches.size=4", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight samples whose answers differ much in length: means of means are then far from the mean."""
    root = write_suite(tmp_path_factory.mktemp("weighting") / "suite", train=8)

    def lengthen(samples: list[dict]) -> None:
        for number, sample in enumerate(samples):
            sample["conversations"][1]["value"] = "word " * (1 + 2 * number)

    edit_samples(train_file(root, "imagenet"), lengthen)
    return root


@pytest.fixture(scope="module")
def gradients(place, suite: Path):
    """Gradients of the first step by weighting and way, made once each."""
    found: dict[tuple[str, str], dict[str, torch.Tensor]] = {}

    def of(weighting: str, way: str) -> dict[str, torch.Tensor]:
        if (weighting, way) not in found:
            folder = place.folder / f"gradients_{weighting}_{way}"
            more = [f"protocol.loss_weighting={weighting}", "batches.epochs=1", "adapter.dropout=0.0"]
            more += ["data.limit_test=1", "trainer.gradient_clip_val=null", "optimizer.lr=1e-6"]
            more += ["+callbacks.probe._target_=probes.Gradients", f"+callbacks.probe.folder={folder}"]
            command = overrides(suite, place.cache, place.folder / f"run_{weighting}_{way}", *more, tasks="imagenet")
            ranks = way == "ranks"
            done = together(place, [*command, *RANKS]) if ranks else [place.runs.run([*command, *WAYS[way]])]
            assert {status for status, _ in done} == {0}, done
            assert any("learning 1/1" in text for _, text in done), "the counter shows steps, not their batches"
            found[weighting, way] = load_file(folder / "0.safetensors")
        return found[weighting, way]

    return of


def distance(mine: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Norm of the difference of two gradients over the norm of the first."""
    assert set(mine) == set(other)
    flat = [torch.cat([grads[name].flatten() for name in sorted(mine)]) for grads in (mine, other)]
    return ((flat[0] - flat[1]).norm() / flat[0].norm()).item()


@pytest.mark.parametrize("way", ["2x4", pytest.param("ranks", marks=pytest.mark.ddp)])
def test_exact_gradients_are_equal(gradients, way):
    assert distance(gradients("exact", "8x1"), gradients("exact", way)) < 1e-5


def test_one_batch_per_step_has_one_weighting(gradients):
    assert distance(gradients("exact", "8x1"), gradients("micro_batch", "8x1")) < 1e-5


def test_published_weighting_depends_on_how_the_step_is_made(gradients):
    assert distance(gradients("micro_batch", "8x1"), gradients("micro_batch", "2x4")) > 0.05


def test_a_short_last_step_is_not_divided_by_batches_that_it_has_not(place, suite: Path):
    """Ten samples in batches of two, four to a step: the last step has one batch, whose gradient must be whole."""
    found = {}
    for accumulation in (1, 4):
        folder = place.folder / f"short_{accumulation}"
        more = ["data.limit_train=2", "batches.size=2", f"trainer.accumulate_grad_batches={accumulation}"]
        more += ["batches.epochs=1", "adapter.dropout=0.0", "data.limit_test=1", "trainer.gradient_clip_val=null"]
        more += ["optimizer.lr=1e-6", "+callbacks.probe._target_=probes.Gradients", f"+callbacks.probe.folder={folder}"]
        run = place.folder / f"run_short_{accumulation}"
        status, text = place.runs.run(overrides(suite, place.cache, run, *more, tasks="imagenet"))
        assert status == 0, text
        found[accumulation] = load_file(folder / "0.safetensors")
    assert distance(found[1], found[4]) < 1e-6
