"""What a strategy cannot do together with the rest of a config is refused before anything is made."""

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from lightning.pytorch.strategies import SingleDeviceStrategy, deepspeed
from omegaconf import DictConfig, OmegaConf

from coin_lightning import zero_strategy
from coin_lightning.cli.strategies import check_strategy
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError
from coin_lightning.zero_strategy import ZeroStrategy

DEVICES = ["trainer.accelerator=cpu", "trainer.devices=2"]
REFUSED = {
    "pieces_and_method": (
        ["method=olora", "trainer=fsdp", "trainer.strategy.trainable=sharded"],
        "trainer.strategy.trainable=sharded: olora works on whole weights (its hook restore); use "
        "trainer.strategy.trainable=whole",
    ),
    "pieces_and_plugin": (
        ["+plugin=ewc", "trainer=fsdp", "trainer.strategy.trainable=sharded"],
        "trainer.strategy.trainable=sharded: ewc works on whole weights",
    ),
    "unknown": (["trainer=fsdp", "trainer.strategy.trainable=some"], 'trainer.strategy.trainable="some": must be'),
    "offload": (
        ["trainer=fsdp", "trainer.strategy.trainable=sharded", "trainer.strategy.offload=true"],
        "trainer.strategy.offload=true keeps frozen pieces",
    ),
    "half": (["trainer=fsdp", "+backbone.dtype=float16"], "backbone.dtype=float16 cannot be laid out"),
    "half on a CPU": (
        ["trainer.precision=16-mixed"],
        "trainer.precision=16-mixed: a CPU does not learn in float16; use",
    ),
    "half weights on a CPU": (["+backbone.dtype=float16"], "backbone.dtype=float16: a CPU does not learn in float16"),
    "double": (["trainer.precision=64"], "trainer.precision=64: adapters are kept in float32 from task to task"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(place, name):
    more, words = REFUSED[name]
    status, text = place.runs.run(place.command(f"refused_{name}", *more, *DEVICES, tasks="imagenet"))
    assert status == 1
    assert words in text
    assert "Traceback" not in text
    assert not (place.folder / f"refused_{name}" / "config.yaml").exists()


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="deepspeed is installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_that_is_not_installed_is_refused_with_the_remedy(place, stage):
    more = [f"trainer=deepspeed_zero{stage}", "~callbacks.checkpoint", *DEVICES]
    status, text = place.runs.run(place.command(f"zero{stage}", *more, tasks="imagenet"))
    assert status == 1
    assert f"error: trainer=deepspeed_zero{stage}: the deepspeed package is not installed; pip install" in text
    assert "or use trainer=fsdp" in text
    assert not (place.folder / f"zero{stage}" / "config.yaml").exists()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of DeepSpeed as a strategy asks for that is only made."""
    logger = SimpleNamespace(setLevel=lambda level: None)
    package = SimpleNamespace(utils=SimpleNamespace(logging=SimpleNamespace(logger=logger)))
    monkeypatch.setitem(sys.modules, "deepspeed", package)
    monkeypatch.setattr(zero_strategy, "find_spec", lambda name: name)
    monkeypatch.setattr(deepspeed, "_DEEPSPEED_AVAILABLE", True)
    monkeypatch.setattr(deepspeed, "_DEEPSPEED_GREATER_EQUAL_0_16", True)


def of(trainer: str, **given: object) -> DictConfig:
    values = OmegaConf.merge(
        *(OmegaConf.load(conf_dir() / "trainer" / f"{name}.yaml") for name in ("default", trainer))
    )
    values.update(given)
    method = {"_target_": "coin_lightning.methods.base.Method"}
    return OmegaConf.create({"trainer": values, "callbacks": {}, "backbone": {}, "method": method, "plugin": {}})


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_learns_in_float32_only(stage: int):
    strategy, name = ZeroStrategy(stage=stage), f"deepspeed_zero{stage}"
    check_strategy(of(name), strategy)
    for narrow in ("auto", "bf16-mixed", "16-mixed"):
        with pytest.raises(
            ConfigError, match=f"trainer.precision={narrow}: DeepSpeed .* use trainer.precision=32-true"
        ):
            check_strategy(of(name, precision=narrow), strategy)


@pytest.mark.usefixtures("installed")
def test_deepspeed_takes_any_optimizer_whose_state_waits_in_the_machine():
    assert ZeroStrategy(offload_optimizer=True).config["zero_force_ds_cpu_optimizer"] is False


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "32-true", "bf16-mixed", 32])
def test_what_learns_is_not_made_narrow(precision: str | int):
    config, strategy = of("default", precision=precision), SingleDeviceStrategy("cpu")
    if precision in ("16-true", "bf16-true"):
        with pytest.raises(ConfigError, match=f"{precision} makes all .* use trainer.precision={precision[:-4]}mixed"):
            check_strategy(config, strategy)
    else:
        check_strategy(config, strategy)
