"""What every method and plugin of `conf` promises: the intended weights learn in every task, nothing is lost in a kill,
and it does not matter how many processes there are."""

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from coin_lightning.cli.build import build
from coin_lightning.config_folder import conf_dir
from coin_lightning.methods.base import HOOKS, Method
from ranks import together

CHOICES = [f"{group}={file.stem}" for group in ("method", "plugin") for file in sorted((conf_dir() / group).glob("*"))]
TOGETHER = "method=hide_llava plugin=[replay,ewc]"
SMALL = {"replay": ["plugin.replay.per_task=4"], "ewc": ["plugin.ewc.weight=20", "plugin.ewc.fisher_samples=3"]}
"""Settings that fit twenty samples."""
TASKS = "imagenet,textvqa,gqa"
KEPT = ("adapter/*.safetensors", "method_state.safetensors", "memory.json", "records/*.jsonl")


def test_there_are_methods_and_plugins():
    methods = {f"method={name}" for name in ("lora", "moelora", "olora", "hide_llava", "l2p")}
    assert methods | {"plugin=replay", "plugin=ewc"} <= set(CHOICES)


@dataclass(frozen=True)
class Contract:
    """Runs of one choice: undisturbed; killed behind step 3 of task 2."""

    choice: str
    whole: Path
    resumed: Path
    recorded: list[dict]
    checkpoint: dict


def settings(place, choice: str, name: str, *more: str) -> list[str]:
    small = [setting for plugin, settings in SMALL.items() if plugin in choice for setting in settings]
    counts = ["data.limit_train=8", "data.limit_test=2"]  # two epochs of two steps; with replay of three
    return place.command(name, *choice.split(), *small, *counts, *more, tasks=TASKS)


def name_of(choice: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in choice)


@pytest.fixture(scope="module", params=[*CHOICES, TOGETHER])
def contract(request: pytest.FixtureRequest, place) -> Contract:
    choice = request.param
    name = name_of(choice)
    status, text = place.runs.run(settings(place, choice, f"{name}_whole", *place.record(f"{name}_recorded")))
    assert status == 0, text
    again = settings(place, choice, f"{name}_resumed")
    status, text = place.runs.run([*again, *place.kill(2, "train", 3)])
    assert status == -signal.SIGKILL, text
    checkpoint = torch.load(place.folder / f"{name}_resumed" / "task_02_textvqa" / "last.ckpt", weights_only=True)
    status, text = place.runs.run(again)
    assert status == 0, text
    files = [place.folder / f"{name}_recorded" / f"{position}.0.json" for position in (1, 2, 3)]
    recorded = [json.loads(file.read_text()) for file in files]
    return Contract(choice, place.folder / f"{name}_whole", place.folder / f"{name}_resumed", recorded, checkpoint)


def test_exactly_the_trainable_weights_move_in_every_task(contract: Contract):
    for seen in contract.recorded:
        moved = {name for name, value in seen["before"].items() if seen["after"][name] != value}
        assert moved == set(seen["trainable"])
        assert any("lora" in name.lower() or name.startswith("method.") for name in moved)
        assert all("vision_tower" not in name for name in moved)


def test_mid_task_checkpoint_holds_trainable_weights_only(contract: Contract):
    assert set(contract.checkpoint["state_dict"]) == set(contract.recorded[1]["trainable"])
    assert contract.checkpoint["global_step"] == 2
    (rank,) = contract.checkpoint["ranks"]
    assert set(rank["random_state"]) >= {"torch"}
    assert rank["progress"]["steps"] == 2


def test_task_checkpoint_holds_the_adapter_and_no_frozen_weight(contract: Contract):
    saved = load_file(contract.whole / "task_02_textvqa" / "adapter" / "adapter_model.safetensors")
    learned = contract.checkpoint["state_dict"]
    names = {name for name in learned if name.startswith("backbone.")}
    if contract.choice != "method=l2p":  # whose adapter is there and does not learn
        assert sum(value.numel() for value in saved.values()) == sum(learned[name].numel() for name in names)
    state = load_file(contract.whole / "task_02_textvqa" / "method_state.safetensors")
    assert learned.keys() - names <= state.keys()
    assert all("vision_tower" not in name for name in saved)
    assert all(value.dtype == torch.float32 for value in saved.values())


def test_killed_and_resumed_equals_undisturbed(contract: Contract):
    for pattern in KEPT:
        files = sorted(file.relative_to(contract.whole) for file in contract.whole.glob(f"task_*/{pattern}"))
        assert files
        for file in files:
            assert (contract.resumed / file).read_bytes() == (contract.whole / file).read_bytes(), file
    matrices = [json.loads((run / "matrix.json").read_text())["scores"] for run in (contract.whole, contract.resumed)]
    assert matrices[0] == matrices[1]


def test_an_evaluation_later_gives_the_same_answers_with_the_saved_weights(contract: Contract, place):
    """The structure of each position is made again before its weights are loaded; the last one is as a kill between
    training and answers leaves it."""
    copy = Path(shutil.copytree(contract.whole, place.folder / f"{contract.whole.name}_evaluated"))
    positions = ("task_02_textvqa", "task_03_gqa")
    for position in positions:
        (copy / position / "scores.json").unlink()
        shutil.rmtree(copy / position / "records")
    status, text = place.runs.run(settings(place, contract.choice, copy.name))
    assert status == 0, text
    for position in positions:
        records = sorted((contract.whole / position / "records").iterdir())
        assert records
        assert [(copy / position / "records" / file.name).read_bytes() for file in records] == [
            file.read_bytes() for file in records
        ]


def test_two_processes_learn_what_one_learns(contract: Contract, place):
    """The same global batch without dropout: sums come in another order, nothing else differs. Adam would make whole
    steps of that where gradients are nearly zero. Momentum moves what a step gives no gradient, as the projector in
    ScienceQA's steps without an image."""
    name = name_of(contract.choice)
    plain = ["adapter.dropout=0", "scenario.order=[scienceqa,textvqa]", "optimizer._target_=torch.optim.SGD"]
    plain += ["optimizer.lr=0.5", "+optimizer.momentum=0.5", "data.limit_train=12", "data.limit_test=1"]
    plain += ["batches.epochs=1"]
    one = settings(place, contract.choice, f"{name}_one", *plain)
    status, text = place.runs.run(one)
    assert status == 0, text
    devices = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "batches.size=2"]
    done = together(place, settings(place, contract.choice, f"{name}_two", *plain, *devices))
    assert [status for status, _ in done] == [0, 0], done
    folders = [place.folder / f"{name}_{count}" / "task_02_textvqa" for count in ("one", "two")]
    for file in ("adapter/adapter_model.safetensors", "method_state.safetensors"):
        single, double = (load_file(folder / file) for folder in folders)
        assert single.keys() == double.keys()
        for key, value in single.items():
            assert torch.allclose(value, double[key], rtol=1e-3, atol=1e-5), key
    assert (folders[0] / "memory.json").read_text() == (folders[1] / "memory.json").read_text()


def test_the_state_has_the_parts_of_the_config(contract: Contract):
    plugins = {f"plugins.{name}" for name in SMALL if name in contract.choice}
    memory = json.loads((contract.whole / "task_02_textvqa" / "memory.json").read_text())
    assert set(memory) == {"method"} | plugins
    state = load_file(contract.whole / "task_02_textvqa" / "method_state.safetensors")
    assert {name.split(".")[0] for name in state} <= {"method", "plugins"}
    assert ("plugins.ewc" in memory) == any(name.startswith("plugins.ewc.fisher") for name in state)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_file_is_named_as_what_it_makes(choice: str):
    group, name = choice.split("=")
    config = OmegaConf.load(conf_dir() / group / f"{name}.yaml")
    for key in ("defaults", "title"):  # for Hydra and for reports, not for the class
        config.pop(key, None)  # type: ignore[union-attr]
    method: Method = build(config)
    assert method.name == name
    assert method.hooks == HOOKS
