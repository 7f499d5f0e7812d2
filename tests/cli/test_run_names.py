"""Folder names of runs."""

from omegaconf import OmegaConf

from coin_lightning.cli.run_names import LONGEST, folder_name, register


def test_a_short_name_stays_as_it_is():
    assert folder_name("adapter.rank=16,scenario.order=[gqa,vqav2]") == "adapter.rank=16,scenario.order=[gqa,vqav2]"
    assert folder_name("") == ""


def test_a_value_with_slashes_makes_no_folders():
    assert folder_name("backbone.projector=/models/a.safetensors") == "backbone.projector=_models_a.safetensors"


def test_long_names_are_cut_and_told_apart():
    first, second = folder_name("a" * 400 + "1"), folder_name("a" * 400 + "2")
    assert first != second
    assert first == folder_name("a" * 400 + "1")
    assert len(first) == LONGEST
    assert first.startswith("a" * 100)


def test_a_name_is_never_cut_within_a_character():
    name = folder_name("ä" * 300)
    assert len(name.encode()) <= LONGEST
    assert set(name.rsplit("-", 1)[0]) == {"ä"}


def test_configs_can_use_it():
    register()
    config = OmegaConf.create({"words": "a=1,b=[c,d]/e", "folder": "runs/${folder_name:${words}}"})
    assert config.folder == "runs/a=1,b=[c,d]_e"
