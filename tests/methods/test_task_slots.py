"""A slot per task: the bank that is made of a LoRA, and what a run changes in it."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.errors import ConfigError
from coin_lightning.methods.task_slots import bank_of_one


def test_the_slot_has_the_rank_and_the_scale_of_the_lora():
    bank = bank_of_one("olora", lora(rank=4, alpha=12, dropout=0.25, targets=["q_proj"]))
    assert (bank.num_experts, bank.r, bank.scaling, bank.dropout) == (1, 4, 3.0, 0.25)
    assert bank.target_modules == ["q_proj"]
    assert bank.fixed_weights == [1.0]


def test_another_adapter_is_refused():
    with pytest.raises(ConfigError, match="method=olora keeps a LoRA pair per task, not MOELORA; use adapter=lora"):
        bank_of_one("olora", moelora(rank=4, num_experts=2))


@pytest.mark.parametrize(
    ("option", "value"),
    [("use_rslora", True), ("use_dora", True), ("init_lora_weights", False), ("bias", "all"),
     ("rank_pattern", {"q_proj": 4}), ("alpha_pattern", {"q_proj": 4})],
)  # fmt: skip
def test_what_a_bank_has_not_is_refused(option, value):
    with pytest.raises(ConfigError, match=f"keeps plain LoRA pairs, without adapter.{option}=.*; leave it out"):
        bank_of_one("olora", lora(rank=4, **{option: value}))


@pytest.mark.parametrize("method", ["olora", "hide_llava"])
def test_weight_decay_that_would_shrink_earlier_slots_is_refused(place, method):
    run = place.folder / f"{method}_decay"
    status, text = place.runs.run(place.command(run.name, f"method={method}", "optimizer.weight_decay=0.1"))
    assert status != 0
    assert "optimizer.weight_decay=0.1 shrinks the pairs of earlier tasks; set it to 0" in text


@pytest.mark.parametrize("method", ["olora", "hide_llava"])
def test_a_run_changes_the_new_slot_only_and_counts_only_that(place, method):
    run = place.folder / f"{method}_slots"
    status, text = place.runs.run(place.command(run.name, f"method={method}", "data.limit_test=1"))
    assert status == 0, text
    names = ("task_01_scienceqa", "task_02_textvqa", "task_03_imagenet")
    saved = [load_file(run / name / "adapter" / "adapter_model.safetensors") for name in names]
    slots = [key for key in saved[0] if "moelora" in key]
    assert slots
    rank = 8
    for key in slots:
        assert [len(weights[key]) for weights in saved] == [rank, 2 * rank, 3 * rank], key
        for before, after in pairwise(saved):
            assert torch.equal(after[key][: len(before[key])], before[key]), key
            assert after[key][len(before[key]) :].any(), key
    trained = json.loads((run / "task_02_textvqa" / "train.json").read_text())
    plan = json.loads((run / "plan.json").read_text())
    bank = sum(saved[0][key].numel() for key in slots)
    projector = sum(value.numel() for key, value in saved[0].items() if "moelora" not in key)
    assert trained["trainable_parameters"] == sum(plan["trainable"].values()) == bank + projector
    flags = json.loads(Path(run / "task_02_textvqa" / "adapter" / "adapter_config.json").read_text())
    assert (flags["num_experts"], flags["fixed_weights"], flags["trainable_slots"]) == (2, [1.0, 1.0], [1])
    card = Path(run / "task_02_textvqa" / "adapter" / "README.md").read_text()
    assert ("This is not the model that the run was judged by" in card) == (method == "hide_llava")
