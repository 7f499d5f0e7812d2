"""In a real fit the trained parts are in training mode and the frozen tower is not; activations are computed again."""

import json
from pathlib import Path

import pytest

RECOMPUTED = {"none": [1, 1], "every_2": [2, 1], "all": [2, 2]}
"""Passes through each of the two layers that a training step makes."""


@pytest.fixture(scope="module", params=["moelora", "lora"])
def runs(request: pytest.FixtureRequest, place) -> dict[str, Path]:
    """Two tasks with all, half and none of the layers recomputed: where the run and what `probes.Modes` saw lie."""
    found = {}
    for checkpointing in RECOMPUTED:
        name = f"modes_{request.param}_{checkpointing}"
        file = place.folder / f"{name}.json"
        more = [f"method={request.param}", f"backbone.gradient_checkpointing={checkpointing}"]
        more += ["+callbacks.probe._target_=probes.Modes", f"+callbacks.probe.file={file}", "data.limit_test=2"]
        more += ["data.limit_train=8"]
        status, text = place.runs.run(place.command(name, *more, tasks="imagenet,gqa"))
        assert status == 0, text
        assert "eval mode" not in text
        found[checkpointing] = place.folder / name
    return found


def seen(run: Path) -> dict:
    return json.loads(run.with_suffix(".json").read_text())


@pytest.mark.parametrize("checkpointing", RECOMPUTED)
def test_layers_and_adapters_train_and_the_tower_does_not(runs, checkpointing):
    found = seen(runs[checkpointing])  # of the second task, behind an evaluation that left evaluation mode
    assert found["layers"] == [True]
    assert found["adapters"] == [True]
    assert found["tower"] in ([], [False])  # features are cached, so it need not run at all


def test_the_chosen_layers_are_computed_twice(runs):
    assert {name: seen(run)["passes"] for name, run in runs.items()} == RECOMPUTED


def test_each_recomputed_layer_keeps_fewer_activations(runs):
    kept = [seen(runs[name])["kept"] for name in RECOMPUTED]
    assert kept[1] < 0.8 * kept[0]
    assert kept[2] < 0.5 * kept[0]


@pytest.mark.parametrize("checkpointing", ["every_2", "all"])
def test_checkpointing_changes_no_bit(runs, checkpointing):
    files = sorted(file.relative_to(runs["none"]) for file in runs["none"].glob("task_*/adapter/*.safetensors"))
    assert len(files) == 2
    for file in files:
        assert (runs[checkpointing] / file).read_bytes() == (runs["none"] / file).read_bytes()


def test_the_tower_stays_in_evaluation_mode_where_it_runs_in_every_step(place):
    file = place.folder / "modes_pixels.json"
    more = ["data.cache_features=false", "+callbacks.probe._target_=probes.Modes", f"+callbacks.probe.file={file}"]
    status, text = place.runs.run(place.brief("modes_pixels", *more, tasks="imagenet"))
    assert status == 0, text
    assert json.loads(file.read_text())["tower"] == [False]
