"""Folder names of runs."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins import basic_sweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from coin_lightning.assets import cache_root
from coin_lightning.cli.run_names import LONGEST, default_cache, folder_name, register
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError


def test_a_short_name_stays_as_it_is():
    words = ["scenario.order=[gqa,vqav2]", "adapter.rank=16"]
    assert folder_name(words) == "adapter.rank=16,scenario.order=[gqa,vqav2]"
    assert folder_name([]) == ""


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["+experiment=moelora_llava", "seed=3", "num_threads=1", "trainer=gpu", "experiment_name=mine"], ""),
        (["judge=hf", "judge.model=/models/7b", "judge.dtype=bfloat16", "logger=wandb", "bounds.joint=/runs/j"], ""),
        (["data.root=/data", "+scenario.tasks.gqa.data.root=/fast", "batches.num_workers=8", "paths.cache=/big"], ""),
        (["backbone.path=/models/llava", "backbone.pretrained.projector=/models/p.bin"], ""),
        (["+debug=tiny", "trainer.precision=32", "~plugin.ewc"], "+debug=tiny,trainer.precision=32,~plugin.ewc"),
        (["data.limit_train=9", "backbone.max_length=64"], "backbone.max_length=64,data.limit_train=9"),
        (["optimizer.lr=5e-4", "scenario.joint=true"], "optimizer.lr=0.0005,scenario.joint=True"),
    ],
)
def test_a_folder_is_named_after_what_changes_results(words: list[str], name: str):
    assert folder_name(words) == name


@pytest.mark.parametrize(
    "word", ["optimizer.lr=5e-4", "scenario.joint=true", "data.fraction=0.10", "scenario.order=[gqa, vqav2]",
             "~adapter.dropout", "adapter={rank: 4}", "+note='a, b=c'", "backbone.prompt=a\\,b"]
)  # fmt: skip
def test_a_member_of_a_sweep_has_the_folder_that_it_has_alone(word: str):
    sweeper = basic_sweeper.BasicSweeper(max_batch_size=None)  # Hydra reads its plugins anew: not by an older name
    overrides = OverridesParser.create().parse_overrides([word, "seed=0,1"])
    (members,) = sweeper.split_arguments(overrides, None)
    assert {folder_name(member) for member in members} == {folder_name([word, "seed=0"])}


def test_a_value_with_slashes_makes_no_folders():
    assert folder_name(["backbone.projector=/models/a.safetensors"]) == "backbone.projector=_models_a.safetensors"


def test_long_names_are_cut_and_told_apart():
    first, second = folder_name([f"x={'a' * 400}1"]), folder_name([f"x={'a' * 400}2"])
    assert first != second
    assert first == folder_name([f"x={'a' * 400}1"])
    assert len(first) == LONGEST
    assert first.startswith("x=" + "a" * 100)


def test_a_name_is_never_cut_within_a_character():
    name = folder_name([f"x='{'ä' * 300}'"])
    assert len(name.encode()) <= LONGEST
    assert set(name.rsplit("-", 1)[0]) == set("x='ä")


def test_configs_can_use_it():
    register()
    config = OmegaConf.create({"words": ["b=c/d", "a=1"], "folder": "runs/${folder_name:${words}}"})
    assert config.folder == "runs/a=1,b=c_d"


def composed_cache(*words: str) -> str:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=list(words)).paths.cache


@pytest.mark.parametrize("home", [None, "/home/of/nobody"])
def test_the_cache_of_a_config_is_that_of_the_code_with_and_without_a_home(
    monkeypatch: pytest.MonkeyPatch, home: str | None
):
    """HOME was asked for although the cache was named."""
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", "/named")
    assert composed_cache() == "/named"
    assert composed_cache("paths.cache=/other") == "/other"
    monkeypatch.delenv("COIN_LIGHTNING_CACHE")
    assert composed_cache() == str(cache_root())
    assert home is None or composed_cache() == "/home/of/nobody/.cache/coin_lightning"


def test_neither_variable_nor_home_is_said(monkeypatch: pytest.MonkeyPatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("COIN_LIGHTNING_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="set COIN_LIGHTNING_CACHE=FOLDER or HOME"):
        default_cache()
