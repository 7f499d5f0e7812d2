"""What every `conf/method/*.yaml` promises: the intended weights learn in every task, and nothing is lost in a kill."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from coin_lightning.cli.build import build, conf_dir
from coin_lightning.methods.base import HOOKS, Method

FILES = sorted((conf_dir() / "method").glob("*.yaml"))
TASKS = "imagenet,textvqa"


def test_there_are_methods():
    assert {"lora", "moelora"} <= {file.stem for file in FILES}


@dataclass(frozen=True)
class Contract:
    """Two runs of one method: undisturbed, and killed behind step 9 of task 2."""

    whole: Path
    resumed: Path
    recorded: list[dict]
    checkpoint: dict


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def contract(request: pytest.FixtureRequest, place) -> Contract:
    name = request.param.stem
    whole, resumed = f"{name}_whole", f"{name}_resumed"
    more = [f"method={name}", "scenario.limit_test=2"]
    status, text = place.runs.run(place.command(whole, *more, *place.record(f"{name}_recorded"), tasks=TASKS))
    assert status == 0, text
    again = place.command(resumed, *more, tasks=TASKS)
    status, text = place.runs.run([*again, *place.kill(2, "train", 9)])
    assert status == -signal.SIGKILL, text
    checkpoint = torch.load(place.folder / resumed / "task_02_textvqa" / "last.ckpt", weights_only=True)
    status, text = place.runs.run(again)
    assert status == 0, text
    files = [place.folder / f"{name}_recorded" / f"{position}.0.json" for position in (1, 2)]
    recorded = [json.loads(file.read_text()) for file in files]
    return Contract(place.folder / whole, place.folder / resumed, recorded, checkpoint)


def test_exactly_the_trainable_weights_move_in_every_task(contract: Contract):
    for seen in contract.recorded:
        moved = {name for name, value in seen["before"].items() if seen["after"][name] != value}
        assert moved == set(seen["trainable"])
        assert any("lora" in name.lower() for name in moved)
        assert all("vision_tower" not in name for name in moved)


def test_mid_task_checkpoint_holds_trainable_weights_only(contract: Contract):
    assert set(contract.checkpoint["state_dict"]) == set(contract.recorded[1]["trainable"])
    assert contract.checkpoint["global_step"] == 8
    (rank,) = contract.checkpoint["ranks"]
    assert set(rank["random_state"]) >= {"torch"}
    assert rank["learned"]["steps"] == 8


def test_task_checkpoint_holds_the_adapter_and_no_frozen_weight(contract: Contract):
    saved = load_file(contract.whole / "task_02_textvqa" / "adapter" / "adapter_model.safetensors")
    trained = sum(value.numel() for value in contract.checkpoint["state_dict"].values())
    assert sum(value.numel() for value in saved.values()) == trained
    assert all(value.dtype == torch.float32 for value in saved.values())


def test_killed_and_resumed_equals_undisturbed(contract: Contract):
    for pattern in ("task_*/adapter/*.safetensors", "task_*/method_state.safetensors", "task_*/records/*.jsonl"):
        files = sorted(file.relative_to(contract.whole) for file in contract.whole.glob(pattern))
        assert files
        for file in files:
            assert (contract.resumed / file).read_bytes() == (contract.whole / file).read_bytes(), file
    matrices = [json.loads((run / "matrix.json").read_text())["scores"] for run in (contract.whole, contract.resumed)]
    assert matrices[0] == matrices[1]


def test_state_round_trips(contract: Contract):
    name = contract.whole.name.removesuffix("_whole")
    config = OmegaConf.load(conf_dir() / "method" / f"{name}.yaml")
    config.pop("defaults")  # type: ignore[union-attr]
    saved = load_file(contract.whole / "task_02_textvqa" / "method_state.safetensors")
    method: Method = build(config)
    method.load_state_dict(saved)
    again = method.state_dict()
    assert set(again) == set(saved)
    assert all(torch.equal(again[key], value) for key, value in saved.items())
    assert method.name == name
    assert method.hooks == HOOKS
