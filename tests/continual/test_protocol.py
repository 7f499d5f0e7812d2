"""The switches: what a set must say, and the batches that it asks for."""

import pytest

from coin_lightning.continual.protocol import CHOICES, Protocol
from coin_lightning.errors import ConfigError

VALUES = {
    "name": "mine", "starting_weights": "backbone", "projector": "carried", "projector_lr": 2e-5, "global_batch": None,
    "loss_weighting": "exact",
    "evaluation_frame": "as_training", "boxes": "converted", "long_samples": "refuse",
    "scorers": "corrected", "bwt_divisor": "tasks_minus_one",
    "test_subset": "full", "judge_variant": "strict",
}  # fmt: skip


def protocol(**values) -> Protocol:
    return Protocol.of({**VALUES, **values})


@pytest.mark.parametrize("field", CHOICES)
def test_a_word_that_no_field_knows_is_refused_with_those_it_knows(field):
    with pytest.raises(ConfigError, match=rf"protocol\.{field}='odd' is unknown; use one of {CHOICES[field][0]}, "):
        protocol(**{field: "odd"})
    assert all(getattr(protocol(**{field: value}), field) == value for value in CHOICES[field])


def test_missing_and_strange_fields_are_named_together():
    values = {name: value for name, value in VALUES.items() if name != "boxes"}
    with pytest.raises(ConfigError) as caught:
        Protocol.of({**values, "projectr": "frozen", "long_samples": "mild"})
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        "protocol.boxes", "protocol.projectr", "protocol.long_samples='mild'",
    ]  # fmt: skip


@pytest.mark.parametrize("rate", [0, -1e-5, "fast", True])
def test_a_rate_of_the_projector_that_is_none_is_refused(rate):
    with pytest.raises(ConfigError, match=r"protocol\.projector_lr="):
        protocol(projector_lr=rate)
    assert protocol(projector_lr=None).projector_lr is None


@pytest.mark.parametrize("batch", [0, 2.5, True, "many", {"gqa": 0}, {"gqa": None}])
def test_a_batch_that_is_no_number_of_samples_is_refused(batch):
    with pytest.raises(ConfigError, match=r"protocol\.global_batch(\.gqa)?=.*whole number of samples from 1"):
        protocol(global_batch=batch)


def test_headline_follows_the_divisor():
    assert protocol().headline_bwt == "bwt"
    assert protocol(bwt_divisor="tasks").headline_bwt == "bwt_coin"


def test_accumulation_makes_the_global_batch():
    assert protocol(global_batch=112).accumulation("gqa", batch_size=14, devices=2) == 4
    assert protocol(global_batch=112).accumulation("gqa", batch_size=14, devices=8) == 1
    by_task = protocol(global_batch={"gqa": 48, "joint": 64})
    assert by_task.accumulation("gqa", 6, 1) == 8
    assert by_task.accumulation("joint", 8, 2) == 4
    assert by_task.accumulation("vizwiz", 6, 1, otherwise=3) == 3  # refused before it is learned
    assert protocol().accumulation("gqa", 6, 1, otherwise=5) == 5


def test_numbers_that_do_not_divide_are_refused_with_those_that_would():
    message = (
        r"global_batch=100 of gqa is no multiple of 112 = batches.size 14 x 8 devices; "
        r"nearest that fit: 112, or batches.size=none on 8 devices"
    )
    with pytest.raises(ConfigError, match=message):
        protocol(global_batch=100).accumulation("gqa", 14, 8)
    with pytest.raises(ConfigError, match=r"x 1 device; nearest that fit: 48 and 60, or batches.size=10$"):
        protocol(global_batch=50).accumulation("gqa", 12, 1)


def test_two_masters_of_the_accumulation_are_refused():
    with pytest.raises(ConfigError, match=r"trainer\.accumulate_grad_batches=2 does so too; set one of them"):
        protocol(global_batch=16).accumulation("gqa", 4, 1, otherwise=2)


def test_values_for_tasks_that_are_not_there_are_refused():
    protocol(global_batch={"gqa": 4, "joint": 8}, test_subset={"gqa": 3}).check_names(["gqa", "vizwiz"])
    with pytest.raises(ConfigError, match=r"protocol\.test_subset names gqqa; the tasks are gqa, vizwiz"):
        protocol(test_subset={"gqqa": 3}).check_names(["gqa", "vizwiz"])


def test_a_number_by_task_is_needed_for_all_that_is_learned():
    for learned in (["gqa"], ["vizwiz", "gqa"], []):  # the numbers of others do not matter
        protocol(global_batch={"gqa": 4, "vizwiz": 8}).check_learned(learned)
    for value in (None, 8, {"gqa": 4, "joint": 8}):
        protocol(global_batch=value).check_learned(["joint"])
    with pytest.raises(ConfigError, match=r"\{'gqa': 4\} has no number for what is learned: vizwiz, vqav2; set "):
        protocol(global_batch={"gqa": 4}).check_learned(["vizwiz", "gqa", "vqav2"])
    with pytest.raises(ConfigError, match=r"joint; set protocol\.global_batch=N, or \+protocol\.\w+\.joint=N$"):
        protocol(global_batch={"gqa": 4}).check_learned(["joint"])
