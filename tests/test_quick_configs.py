"""What the tests remember of configs changes none: Hydra's own merging gives the same."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

import quick_configs
from coin_lightning.cli import run_names
from coin_lightning.config_folder import conf_dir

WORDS = [
    [], ["+experiment=coin/llava_7b_moelora_e8", "seed=2"],
    ["method=hide_llava", "plugin=[replay,ewc]", "logger=wandb"],
    ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra/sweeper=optuna_search", "+debug=tiny"],
]  # fmt: skip


def composed(words: list[str]) -> DictConfig:
    run_names.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=words, return_hydra_config=True)


def exactly(config: DictConfig) -> tuple[str, dict, bool | None, type | None]:
    kept = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    return OmegaConf.to_yaml(config), kept, OmegaConf.is_struct(config), OmegaConf.get_type(config.hydra)


@pytest.mark.parametrize("words", WORDS, ids=str)
def test_a_remembered_config_is_the_one_that_hydra_makes(words: list[str], monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    first, second = composed(words), composed(words)
    second.seed = 77  # nobody else's
    third = composed(words)
    monkeypatch.setattr(quick_configs, "_is_own", lambda repository: False)
    wanted = exactly(composed(words))
    assert exactly(first) == exactly(third) == wanted


def test_what_one_process_has_merged_is_whole_or_not_there(tmp_path: Path):
    quick_configs._write(tmp_path / "shared" / "a", b"x")
    quick_configs._write(tmp_path / "shared" / "a", b"yy")
    assert [(file.name, file.read_bytes()) for file in (tmp_path / "shared").iterdir()] == [("a", b"yy")]


def test_folders_of_ones_own_are_read_each_time(tmp_path: Path):
    found = []
    for name, size in (("a", 3), ("b", 5), ("b", 7)):
        file = tmp_path / name / "experiment" / "same.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# @package _global_\nbatches: {{size: {size}}}\n")
        words = [f"hydra.searchpath=[file://{tmp_path / name}]", "+experiment=same"]
        found.append(composed(words).batches.size)
    assert found == [3, 5, 7]
