"""Every value of the composed config is checked against what it is given to, before anything is made."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from coin_lightning.cli.build import check_config
from coin_lightning.cli.own_keys import INSTEAD
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError

VARIANTS = {
    "default": ["logger=wandb", "logger.wandb.mode=offline", "judge=openai"],
    "real": ["scenario=coin", "backbone=llava_1_5_7b", "source=datasets", "judge=hf", "method=lora"],
    "rest": ["backbone=tiny", "judge=embedding", "logger=tensorboard", "protocol=as_published"],
}


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True)


def composed(*overrides: str) -> DictConfig:
    """What a run with these overrides would get."""
    config = _composed(overrides)
    HydraConfig.instance().set_config(config)
    run = config.copy()
    with open_dict(run):
        del run["hydra"]
    return run


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of all plain values."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not str(key).startswith("_"):
                yield from leaves(each, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


@pytest.fixture(autouse=True)
def hydra_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path))
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


NAN = float("nan")
WRONG: dict[str, dict[type, Any]] = {
    "type": {int: "abc", float: "abc", bool: "yes", str: 1.5, list: 1.5, type(None): {"a": [{"b": None}]}},
    "truth": {int: True, float: True, bool: 1, str: True, list: True, type(None): [[True]]},
    "no number": {int: NAN, float: NAN, bool: NAN},
    "part": {int: 10.5},
    "infinite": {int: float("inf"), float: float("inf")},
    "negative": {int: -1, float: -1.0},
    "zero": {int: 0, float: 0.0},
    "empty": {int: "", float: "", bool: ""},
    "null": {int: None, float: None, bool: None, str: None, list: None},
}
"""What is wrong -> by the type of the default, a value of that kind."""


OWN_CHECK = "the class that gets it says so itself, before anything is loaded: test_ranges_that_classes_check"
TAKEN: dict[str, dict[str, str]] = {
    "type": {
        "judge.extra": "further fields of a request, whatever they are",
        r"protocol\.test_subset\..*": "a text names a file of ids",
    },
    "empty": {r"protocol\.test_subset\..*": OWN_CHECK},
    "part": {r"adapter\.alpha|judge\.timeout|(.*\.)?data\.max_cache_gigabytes": "any number, whole or not"},
    "negative": {
        r"scenario\.order_seed|(.*\.)?data\.subset_seed": "any whole number seeds a draw",
        r"optimizer\.lr|protocol\.projector_lr|callbacks\.checkpoint\.every_n_steps": OWN_CHECK,
        r"trainer\.devices": "all of them",
        r"judge\..*": OWN_CHECK,
        r"protocol\.test_subset\..*": OWN_CHECK,
    },
    "zero": {
        r"seed|scenario\.order_seed|(.*\.)?data\.subset_seed": "a seed",
        r"adapter\.dropout|schedule\.warmup_ratio|optimizer\.weight_decay|trainer\.gradient_clip_val": "none of it",
        r"(.*\.)?batches\.num_workers|(.*\.)?data\.max_cache_gigabytes|trainer\.log_every_n_steps": "none",
        r"judge\.(backoff|prompt_price|reply_price|retries|temperature)": "none of it",
        r"optimizer\.lr|protocol\.projector_lr|callbacks\.checkpoint\.every_n_steps": OWN_CHECK,
        r"judge\.(batch_size|max_new_tokens|repetition_penalty|top_p)": OWN_CHECK,
        r"logger\.wandb\.examples": "no table of examples",
        r"protocol\.test_subset\..*": OWN_CHECK,
    },
    "null": {
        r"judge\.(api_key_env|max_tokens|temperature|device_map)": "is not sent, or left to the library",
        r"protocol\.projector_lr": "the optimizer's own",
        r"scenario\.tasks\.\w+\.(title|short)": "the key, or its first letters",
        r"trainer\.(gradient_clip_val|log_every_n_steps|precision)": "Lightning's default",
        r"callbacks\.learning_rate\.logging_interval": "Lightning's default",
        r"data\.source|scenario\.builder\.root": "JSON files, the cache",
        r"optimizer\.fused": "PyTorch's default",
        r"backbone\.path": OWN_CHECK,
        r"backbone\.(name|pretrained\..*)": "the folder's name; only starting_weights=pretrained needs the parts",
    },
}
"""Kind -> pattern of keys that take it -> why."""


@pytest.mark.parametrize("kind", WRONG)
def test_every_key_refuses_what_it_cannot_be(kind: str):
    """All keys of the config are made wrong at once; each must be named with its value."""
    used = set()
    for words in VARIANTS.values():
        for key in taken(composed(*words), WRONG[kind]):
            patterns = [pattern for pattern in TAKEN.get(kind, {}) if re.fullmatch(pattern, key)]
            assert patterns, f"{key} takes a value of the kind {kind!r}"
            used.update(patterns)
    assert used == set(TAKEN.get(kind, {}))


def taken(config: DictConfig, wrong: dict[type, Any]) -> set[str]:
    """Keys about which nothing is said although they have a wrong value."""
    changed = {}
    for key in dict(leaves(OmegaConf.to_container(config))):
        default: Any = OmegaConf.select(config, key)
        kind = list if OmegaConf.is_list(default) else type(default)
        if kind in wrong:
            changed[key] = wrong[kind]
    for key, value in changed.items():
        parent, _, last = key.rpartition(".")
        (OmegaConf.select(config, parent) if parent else config)[last] = value
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    named = {line.split("=", 1)[0] for line in str(caught.value).splitlines()}
    assert len(named) > 5
    return {key for key in changed if not named & {key, key.rpartition(".")[0]} and not _with_another(key, named)}


def _with_another(key: str, named: set[str]) -> bool:
    """What a task takes over is told once, for the key that it is taken from."""
    return any(key.endswith(f".{other}") for other in named)


def refused(*words: str) -> str:
    """What is said about a command line."""
    with pytest.raises(ConfigError) as caught:
        check_config(composed(*words))
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=-1"], "optimizer.lr=-1: must be positive"),
        (["optimizer.lr=0"], "optimizer.lr=0: must be positive"),
        (["+optimizer.betas=[0.9,1.5]"], "Invalid beta parameter at index 1: 1.5"),
        (["protocol.projector_lr=0"], "protocol.projector_lr=0"),
        (["callbacks.checkpoint.every_n_steps=0"], "callbacks.checkpoint.every_n_steps=0 must be at least 1"),
        (["adapter.rank=9"], "num_experts"),
        (["evaluation.cells=all"], "evaluation.cells='all' is unknown"),
        (["protocol.test_subset=1.5"], "protocol.test_subset=1.5: must be"),
        (["~judge"], "judge: a run needs this group; choose judge= from embedding, hf"),
        (["~logger"], "logger: a run needs this group; choose logger= from csv, tensorboard, wandb"),
        (["scenario.tasks.gqa=5"], "scenario.tasks.gqa=5: must be a group with a _target_"),
        (["trainer.devices=[0,-1]"], "trainer.devices=[0, -1]: must be"),
        (["seed=4294967296"], "seed=4294967296: must be less than 4294967296"),
        (["experiment_name="], 'experiment_name="": must have at least 1 character'),
        (["+schedule.total_steps=7"], "schedule.total_steps: cannot be set; it is counted from the data"),
        (["+logger.csv.run_dir=x"], "logger.csv.run_dir: cannot be set; use paths.runs=FOLDER"),
    ],
)
def test_ranges_that_classes_check_and_groups_that_are_missing(words: list[str], said: str):
    assert said in refused(*words)


def test_a_name_of_digits_is_a_text_and_other_numbers_say_how_to_be_one():
    config = composed("experiment_name=20261124", "method.name=7", "scenario.order=[1,gqa]")
    check_config(config)
    assert config.experiment_name == "20261124"
    assert config.method.name == "7"
    assert list(config.scenario.order) == ["1", "gqa"]
    for value in ("1e3", "true", "null", "1.50"):
        said = refused(f"experiment_name={value}")
        assert "experiment_name=" in said
        advice = re.search(r"write '(.*)', both kinds", said)
        assert advice, said
        mended = composed(advice.group(1))
        check_config(mended)
        assert isinstance(mended.experiment_name, str)


def test_lightnings_variables_are_refused(monkeypatch: pytest.MonkeyPatch):
    """Lightning takes options of its Trainer from the environment: the plan would not hold, and no file would say."""
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")
    assert "PL_TRAINER_LIMIT_TRAIN_BATCHES: is set in the environment" in refused()


def test_every_option_of_the_trainer_is_passed_on_or_refused():
    """A new option of Lightning must be decided on."""
    options = set(inspect.signature(L.Trainer).parameters)
    refusable = {key.removeprefix("trainer.") for key in INSTEAD if key.startswith("trainer.")}
    passed = {
        "accelerator", "strategy", "devices", "num_nodes", "precision", "log_every_n_steps", "inference_mode",
        "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "deterministic", "benchmark",
        "profiler", "detect_anomaly", "plugins", "sync_batchnorm", "enable_autolog_hparams", "model_registry",
    }  # fmt: skip
    assert options == refusable | passed
    assert not refusable & passed
    words = [f"++trainer.{name}=1" for name in sorted(refusable)]
    lines = refused(*words).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"trainer.{name}" for name in sorted(refusable)]
    assert all("cannot be set; " in line for line in lines)
