from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from coin_lightning.cli import run_names
from coin_lightning.cli.member_configs import CONFIG, MemberConfigs, MemberLoader
from coin_lightning.config_folder import conf_dir

GRIDS = {
    "values": [
        ("+experiment=moelora_llava", f"adapter.num_experts={experts}", f"adapter.rank={rank}", f"seed={seed}")
        for experts, rank, seed in ((1, 8, 0), (1, 32, 1), (4, 8, 0))
    ],
    "values between choices": [
        ("adapter.rank=8", "method=lora", "+debug=tiny", "data.limit_train=3"),
        ("adapter.rank=9", "method=lora", "+debug=tiny", "data.limit_train=null"),
    ],
    "groups": [("method=moelora", "plugin=[replay,ewc]"), ("method=hide_llava", "plugin=[]"), ("seed=3",)],
    "lists, mappings and texts": [
        ("scenario.order=[gqa,vqav2]", "adapter={rank:4,alpha:8}", "experiment_name='a, b=c'"),
        ("scenario.order=[vqav2]", "adapter={rank:2}", "adapter.rank=16", r"experiment_name=x\,y"),
    ],
    "values before mappings of their group": [
        ("adapter.rank=8", "adapter={rank:4}"),
        ("adapter={rank:4}", "adapter.rank=8", "method=lora"),
        ("adapter.rank=8", "+adapter={note:1}", "adapter.note=2"),
    ],
    "what Hydra is told": [
        ("hydra.job.chdir=false", "seed=1"),
        ("hydra.job.chdir=false", "seed=2", "hydra/job_logging=disabled"),
    ],
    "values that come and go": [("+note=a", "note=b"), ("~optimizer.lr", "seed=1"), ("++adapter.rank=3", "seed=2")],
}


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    run_names.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


@pytest.mark.parametrize("name", GRIDS)
def test_members_get_the_configs_that_hydra_composes(name: str) -> None:
    configs = MemberConfigs()
    for words in GRIDS[name]:
        assert_same(configs(words), compose(CONFIG, overrides=list(words), return_hydra_config=True))


@pytest.mark.parametrize(
    "words", [("adapter.rnak=8",), ("adapter.rank=8", "method=none_such"), ("seed=[", "x"), ("optimizer@by=adamw",)]
)
def test_errors_are_those_of_hydra(words: tuple[str, ...]) -> None:
    with pytest.raises(HydraException) as expected:
        compose(CONFIG, overrides=list(words), return_hydra_config=True)
    with pytest.raises(HydraException) as raised:
        MemberConfigs()(words)
    assert str(raised.value) == str(expected.value)


def assert_same(config: DictConfig, expected: DictConfig) -> None:
    assert OmegaConf.to_container(config) == OmegaConf.to_container(expected)
    assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)  # in this order of keys, too
    assert OmegaConf.is_struct(config)
    assert config.hydra.runtime.choices == expected.hydra.runtime.choices


def test_what_the_sweep_tells_hydra_goes_before_the_words_of_each_member(tmp_path: Path) -> None:
    (tmp_path / "kind").mkdir()
    for name in ("a", "b"):
        (tmp_path / "kind" / f"{name}.yaml").write_text(f"# @package _global_\nadapter: {{rank: {len(name)}}}\n")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - /kind: a\n")
    hydra = (f"hydra.searchpath=[file://{tmp_path}]", "hydra.mode=MULTIRUN")
    configs = MemberConfigs(hydra)
    for words in (("+experiment=mine", "kind=b", "seed=1"), ("+experiment=mine", "kind=b", "seed=2")):
        assert_same(configs(words), compose(CONFIG, overrides=[*hydra, *words], return_hydra_config=True))


def test_one_member_leaves_the_next_as_it_is() -> None:
    configs = MemberConfigs()
    configs(("adapter={rank:4,dropout:0.5}", "scenario.order=[gqa]"))
    assert_same(configs(("seed=1",)), compose(CONFIG, overrides=["seed=1"], return_hydra_config=True))


def test_what_members_share_is_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []

    def counting(name: str, overrides: list[str], **options: bool) -> DictConfig:
        composed.append(overrides)
        return compose(name, overrides=overrides, **options)

    monkeypatch.setattr("coin_lightning.cli.member_configs.compose", counting)
    configs = MemberConfigs()
    for rank in (8, 16, 32):
        assert configs(("+debug=tiny", f"adapter.rank={rank}")).adapter.rank == rank
    assert composed == [["+debug=tiny"]]


def test_the_launcher_gets_what_hydra_composes_for_each_member(tmp_path: Path) -> None:
    loader = GlobalHydra.instance().config_loader()
    told = [r"hydra.sweep.subdir='it\'s_${seed}'", f"hydra.sweep.dir={tmp_path}"]
    master = loader.load_configuration(CONFIG, told, run_mode=RunMode.MULTIRUN)
    OmegaConf.get_cache(master)["hydra"] = {"now": "once for all"}
    for name in ("train", "another"):
        master.hydra.job.config_name = name
        shared = MemberLoader(loader)
        for words in GRIDS["values"]:
            if name == CONFIG:
                config, expected = (each.load_sweep_config(master, list(words)) for each in (shared, loader))
                assert_same(config, expected)
                assert OmegaConf.get_cache(config) == OmegaConf.get_cache(expected)
                assert str(config.hydra.sweep.subdir) == f"it's_{config.seed}"
            else:  # the loader's own business
                with pytest.raises(HydraException, match="another"):
                    shared.load_sweep_config(master, list(words))
