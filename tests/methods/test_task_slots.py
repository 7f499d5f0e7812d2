"""A slot per task: the bank that is made of a LoRA, and what a run changes in it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.errors import ConfigError
from coin_lightning.methods.task_slots import slot_per_task

TASKS = ("a", "b", "c")


def test_each_slot_has_the_rank_and_the_scale_of_the_lora():
    bank = slot_per_task("olora", lora(rank=4, alpha=12, dropout=0.25, targets=["q_proj"]), TASKS)
    assert (bank.num_experts, bank.expert_rank, bank.scaling, bank.dropout) == (3, 4, 3.0, 0.25)
    assert bank.target_modules == ["q_proj"]
    assert bank.fixed_weights == [1.0, 1.0, 1.0]
    assert slot_per_task("olora", lora(rank=4), ()).num_experts == 1


def test_another_adapter_is_refused():
    with pytest.raises(ConfigError, match="method=olora keeps a LoRA pair per task, not MOELORA; use adapter=lora"):
        slot_per_task("olora", moelora(rank=4, num_experts=2), TASKS)


@pytest.mark.parametrize("method", ["olora", "hide_llava"])
def test_a_run_changes_the_new_slot_only_and_counts_only_that(place, method):
    run = place.folder / f"{method}_slots"
    status, text = place.runs.run(place.command(run.name, f"method={method}", "scenario.limit_test=1"))
    assert status == 0, text
    names = ("task_01_scienceqa", "task_02_textvqa", "task_03_imagenet")
    saved = [load_file(run / name / "adapter" / "adapter_model.safetensors") for name in names]
    slots = [key for key in saved[0] if "moelora" in key]
    assert slots
    for key in slots:
        for before, after, slot in ((saved[0], saved[1], 1), (saved[1], saved[2], 2)):
            changed = [index for index in range(3) if not torch.equal(before[key][index], after[key][index])]
            assert changed == [slot], key
    trained = json.loads((run / "task_02_textvqa" / "train.json").read_text())
    plan = json.loads((run / "plan.json").read_text())
    bank = sum(saved[0][key].numel() for key in slots)
    projector = sum(value.numel() for key, value in saved[0].items() if "moelora" not in key)
    assert trained["trainable_parameters"] == sum(plan["trainable"].values()) == bank // 3 + projector
    flags = json.loads(Path(run / "task_02_textvqa" / "adapter" / "adapter_config.json").read_text())
    assert (flags["active_slots"], flags["trainable_slots"]) == ([0, 1], [1])
