"""In a real fit the trained parts are in training mode and the frozen tower is not; activations are computed again."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module", params=["moelora", "lora"])
def runs(request: pytest.FixtureRequest, place) -> dict[bool, Path]:
    """Two tasks with and without activation checkpointing: where the run and what `probes.Modes` saw lie."""
    found = {}
    for checkpointing in (False, True):
        name = f"modes_{request.param}_{checkpointing}"
        file = place.folder / f"{name}.json"
        more = [f"method={request.param}", f"+backbone.gradient_checkpointing={str(checkpointing).lower()}"]
        more += ["+callbacks.probe._target_=probes.Modes", f"+callbacks.probe.file={file}", "data.limit_test=2"]
        more += ["data.limit_train=8"]
        status, text = place.runs.run(place.command(name, *more, tasks="imagenet,gqa"))
        assert status == 0, text
        assert "eval mode" not in text
        found[checkpointing] = place.folder / name
    return found


def seen(run: Path) -> dict:
    return json.loads(run.with_suffix(".json").read_text())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_layers_and_adapters_train_and_the_tower_does_not(runs, checkpointing):
    found = seen(runs[checkpointing])  # of the second task, behind an evaluation that left evaluation mode
    assert found["layers"] == [True]
    assert found["adapters"] == [True]
    assert found["tower"] in ([], [False])  # features are cached, so it need not run at all


def test_checkpointing_keeps_fewer_activations(runs):
    assert seen(runs[True])["kept"] < 0.5 * seen(runs[False])["kept"]


def test_checkpointing_changes_no_bit(runs):
    files = sorted(file.relative_to(runs[False]) for file in runs[False].glob("task_*/adapter/*.safetensors"))
    assert len(files) == 2
    for file in files:
        assert (runs[True] / file).read_bytes() == (runs[False] / file).read_bytes()


def test_the_tower_stays_in_evaluation_mode_where_it_runs_in_every_step(place):
    file = place.folder / "modes_pixels.json"
    more = ["data.cache_features=false", "+callbacks.probe._target_=probes.Modes", f"+callbacks.probe.file={file}"]
    status, text = place.runs.run(place.brief("modes_pixels", *more, tasks="imagenet"))
    assert status == 0, text
    assert json.loads(file.read_text())["tower"] == [False]
