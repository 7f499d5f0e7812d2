"""Every yaml of `conf/` composes, every `_target_` in it binds, and every wrong name is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from coin_lightning.cli.build import check_config, conf_dir, targets
from coin_lightning.cli.config_errors import explain
from coin_lightning.errors import ConfigError

CONF = conf_dir()
FILES = sorted(file.relative_to(CONF) for file in CONF.rglob("*.yaml"))
ADDED = ("experiment", "debug")
OPTIONS = [file for file in FILES if len(file.parts) == 2]


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path))
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


def composed(*overrides: str, folder: Path = CONF) -> DictConfig:
    """What a run with these overrides would get."""
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("train", overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    run = config.copy()
    with open_dict(run):
        del run["hydra"]
    return run


def override(file: Path) -> str:
    """The word on the command line that chooses a file."""
    group, option = file.parts[0], file.stem
    if group == "task":
        return f"+task@scenario.tasks={option}"
    return f"{'+' if group in ADDED else ''}{group}={option}"


def test_no_file_is_left_out():
    entry_points = {Path("train.yaml")}
    assert set(OPTIONS) == set(FILES) - entry_points
    assert len(OPTIONS) > 30


@pytest.mark.parametrize("file", OPTIONS, ids=str)
def test_it_composes_and_binds(file: Path):
    config = composed(override(file))
    check_config(config)
    found = dict(targets(config))
    assert {"backbone", "adapter", "method", "optimizer", "trainer", "scenario"} <= set(found)
    assert len(found) > 15


@pytest.mark.parametrize("file", FILES, ids=str)
def test_its_first_line_says_what_it_is_for(file: Path):
    lines = [line for line in (CONF / file).read_text().splitlines() if line != "# @package _global_"]
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 12


@pytest.mark.parametrize("method", sorted(file.stem for file in (CONF / "method").glob("*.yaml")))
def test_a_method_chooses_its_adapter_and_values_can_still_be_set(method: str):
    config = composed(f"method={method}", "adapter.rank=24", "+experiment=moelora_llava")
    assert config.adapter._target_.endswith(f".{method}")
    assert config.adapter.rank == 24
    assert config.method.name == method


def test_a_protocol_chooses_its_schedule():
    assert composed("protocol=as_published").schedule._target_.endswith(".log_warmup_constant")
    assert composed("protocol=as_published").evaluation.scorers == "reference"
    assert composed("protocol=as_published", "schedule=constant").schedule._target_.endswith(".constant")


def test_the_folder_of_a_run_has_no_time_stamp():
    first, second = composed("adapter.rank=16"), composed("adapter.rank=16")
    assert first.run_dir == second.run_dir
    assert first.run_dir.endswith("/moelora_llava_smol/adapter.rank=16/seed_0")


def refused(*overrides: str) -> str:
    """The message that a user gets for overrides that Hydra cannot compose."""
    with pytest.raises(HydraException) as caught:
        composed(*overrides)
    return str(explain(caught.value, CONF))


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("adapter.rnk=3", "adapter.rnk: there is no such config key; did you mean adapter.rank"),
        ("optimzer.lr=1", "optimzer.lr: there is no such config key; did you mean optimizer.lr"),
        ("sed=1", "sed: there is no such config key; did you mean seed"),
        ("methd=lora", "methd: there is no such config key; did you mean method"),
        ("method=moelra", "method=moelra: there is no method/moelra.yaml; did you mean moelora"),
        ("+experiment=moelora_lava", "there is no experiment/moelora_lava.yaml; did you mean moelora_llava"),
        ("scenario=zzz", "there is no scenario/zzz.yaml; choose from coin, coin_mini"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_named_with_the_nearest(typed: str, answer: str):
    assert answer in refused(typed)


@pytest.mark.parametrize(
    ("added", "answer"),
    [
        ("+adapter.rnak=16", r"adapter\.rnak: coin_lightning\S+moelora has no such option; did you mean rank"),
        ("+optimizer.learning_rat=1", r"optimizer\.learning_rat: torch.optim.AdamW has no such option"),
        ("+scenario.batchsize=2", r"scenario\.batchsize: .* did you mean batch_size"),
        ("+scenario.tasks.gqa.max_token=2", r"scenario\.tasks\.gqa\.max_token: .* did you mean max_new_tokens"),
        ("+protocol.projectr=frozen", r"protocol\.projectr: there is no such config key; did you mean projector"),
        ("+sed=1", r"sed: there is no such config key; did you mean seed"),
        ("+paths.rums=x", r"paths\.rums: there is no such config key; did you mean runs"),
        ("method._target_=coin_lightning.methods.nope.Method", r"method\._target_: .*nope.Method cannot be imported"),
    ],
)
def test_a_key_that_nothing_reads_is_refused(added: str, answer: str):
    with pytest.raises(ConfigError, match=answer):
        check_config(composed(added))


def test_a_typo_in_an_experiment_yaml_is_refused(tmp_path: Path):
    import shutil

    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "experiment" / "wrong.yaml").write_text(
        "# @package _global_\n# Three typos.\nadapter:\n  rnak: 16\nscenario:\n  limit_tran: 4\nexperimentname: x\n"
    )
    with pytest.raises(ConfigError) as caught:
        check_config(composed("+experiment=wrong", folder=conf))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3  # all of them together
    assert "did you mean rank" in "".join(lines)
    assert "did you mean limit_train" in "".join(lines)
    assert "did you mean experiment_name" in "".join(lines)


def test_a_missing_option_is_named():
    config = composed()
    with open_dict(config):
        del config.scenario["root"]
    with pytest.raises(ConfigError, match=r"scenario\.root: .*Scenario needs this option"):
        check_config(config)


def test_a_reference_to_nothing_is_named():
    config = composed()
    OmegaConf.update(config, "seed", "${nowhere}")
    with pytest.raises(ConfigError, match="nowhere"):
        check_config(config)
