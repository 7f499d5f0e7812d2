"""Hints: nearest names, or all of them."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from coin_lightning.cli.config_errors import (
    explain,
    group_keys,
    hint,
    known_keys,
    root_keys,
    told_once,
    understood,
    unread_keys,
)
from coin_lightning.config_folder import conf_dir


def test_near_names_are_suggested_and_far_ones_listed():
    assert hint("rnk", ["rank", "alpha"]) == "did you mean rank?"
    assert hint("zzz", ["rank", "alpha"]) == "choose from alpha, rank"


def test_known_keys_reach_into_groups():
    known = known_keys(conf_dir())
    assert {"seed", "method", "adapter.rank", "data.limit_train", "callbacks.checkpoint.every_n_steps"} <= known
    assert not any("defaults" in key or "_target_" in key for key in known)


def test_keys_of_root_and_groups():
    assert {"seed", "run_dir", "protocol", "hydra", "num_threads"} <= root_keys(conf_dir())
    assert "experiment" not in root_keys(conf_dir())
    assert {"name", "projector", "projector_lr", "scorers", "boxes"} <= group_keys(conf_dir(), "protocol")
    assert "lr" not in group_keys(conf_dir(), "protocol")


def test_callbacks_and_loggers_of_ones_own_are_no_typos():
    config = OmegaConf.create({"callbacks": {"mine": {"_target_": "x.Y"}}, "logger": {}, "seed": 1})
    assert unread_keys(config, conf_dir()) == []
    config.callbacks.mine = 3
    assert unread_keys(config, conf_dir())[0].startswith("callbacks.mine: there is no such config key")


def test_a_value_with_an_equals_sign_gets_quotes_and_the_flag_goes_in_front():
    words = ["paths.runs=runs/method=lora", "seed=0", "-m", "+data.test_ids=/x/a=b.json"]
    assert understood(words) == [
        "-m", "paths.runs='runs/method=lora'", "seed=0", "+data.test_ids='/x/a=b.json'"
    ]  # fmt: skip
    for word in ("a='b=c'", "a={b:c}", "a=[b=c]", "a=b=c,d=e", "adapter.rank=8", "--config-dir=/x"):
        assert understood([word]) == [word]


def test_a_path_is_one_value_whatever_is_in_its_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/jörg")
    given = {
        "run_dir=runs/m/evaluation=full,method=lora/seed_0": "runs/m/evaluation=full,method=lora/seed_0",
        "bounds.joint=runs/a b/scenario.joint=true,x=1/seed_0": "runs/a b/scenario.joint=true,x=1/seed_0",
        "paths.runs=~/it's here": "/home/jörg/it's here",
        "+paths.own=/jö/x": "/jö/x",
        "paths.cache=null": None,
        "run_dir='a b'": "a b",
    }
    words = understood(list(given))
    parsed = OverridesParser.create().parse_overrides(words)
    assert [override.value() for override in parsed] == list(given.values())
    assert not any(override.is_sweep_override() for override in parsed)


def test_a_key_of_another_option_is_not_said_to_be_unknown(tmp_path: Path):
    told = str(explain(Exception("Could not override 'adapter.num_experts'."), conf_dir()))
    assert told == "adapter.num_experts: the option of adapter that was chosen has no such key, another has"


def test_an_unknown_complaint_is_passed_on(tmp_path: Path):
    assert str(explain(MissingConfigException("Something else", "x"), tmp_path)) == "Something else"


@pytest.mark.parametrize(
    ("option", "extra"), [("joblib", "sweeps"), ("submitit_slurm", "sweeps"), ("ray", "ray")], ids=str
)
def test_a_launcher_without_its_package_names_the_extra(option: str, extra: str):
    """As a choice of the command line, and in the defaults of our own `slurm`."""
    for text in (f"Could not find 'hydra/launcher/{option}'", f"In 'x': Could not load 'hydra/launcher/{option}'."):
        told = str(explain(MissingConfigException(text, option), conf_dir()))
        assert told == f"hydra/launcher={option}: needs a package; pip install 'coin-lightning[{extra}]'"


def test_what_is_wrong_with_a_value_is_told_where_it_is_taken_from():
    lines = ["tasks.a.data.root=1: no", "data.root=1: no", "tasks.b.data.root=2: no", "metadata.root=1: no"]
    assert told_once(lines) == ["data.root=1: no", "tasks.b.data.root=2: no", "metadata.root=1: no"]
