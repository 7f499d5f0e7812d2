"""Trainers of a config: the accumulation that makes the global batch, and the precision that fits the weights."""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from coin_lightning.cli import trainers
from coin_lightning.cli.trainers import accumulation, check_processes, local_gpu, native_precision, protocol_of
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError
from ranks import torchrun


def config(accumulate: int = 1, **protocol):
    values = OmegaConf.load(conf_dir() / "protocol" / "as_intended.yaml")
    del values["defaults"]
    values.update(protocol)
    return OmegaConf.create({"protocol": values, "trainer": {"accumulate_grad_batches": accumulate}})


TASK = SimpleNamespace(name="gqa", batch_size=6)


def test_accumulation_is_the_protocols_or_the_trainers(monkeypatch: pytest.MonkeyPatch):
    assert accumulation(config(accumulate=3), TASK) == 3
    assert accumulation(config(global_batch=48), TASK) == 8
    for name, value in torchrun(4)[1].items():
        monkeypatch.setenv(name, value)
    assert accumulation(config(global_batch={"gqa": 48}), TASK) == 2
    with pytest.raises(ConfigError, match="nearest that fit: 24 and 48"):
        accumulation(config(global_batch=36), TASK)


def test_a_protocol_with_a_wrong_word_is_refused():
    assert protocol_of(config()).name == "as_intended"
    with pytest.raises(ConfigError, match=r"protocol\.boxes='drawn' is unknown"):
        protocol_of(config(boxes="drawn"))


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(torch.bfloat16, "bf16-mixed"), (torch.float16, "16-mixed"), (torch.float32, "32-true")],
)
def test_precision_follows_the_backbones_weights(dtype: torch.dtype, precision: str):
    module = SimpleNamespace(backbone=SimpleNamespace(model=SimpleNamespace(dtype=dtype)))
    assert native_precision(module) == precision


@pytest.mark.parametrize(("device", "chosen"), [("cuda:1", ["cuda:1"]), ("cpu", [])])
def test_what_loads_before_the_trainer_runs_finds_its_gpu(monkeypatch: pytest.MonkeyPatch, device: str, chosen: list):
    """Quantised weights go to the default GPU, which would be the first for all of a job, and with `devices=[1]`."""
    strategy = SimpleNamespace(root_device=torch.device(device))
    made = SimpleNamespace(strategy=strategy, num_devices=1, num_nodes=1)
    found: list[str] = []
    monkeypatch.setattr(trainers, "_trainer", lambda config, **options: made)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: found.append(str(device)))
    check_processes(config())
    assert found == chosen


@pytest.mark.parametrize(
    ("accelerator", "there", "place"), [("auto", True, "cuda:1"), ("cpu", True, None), ("auto", False, None)]
)
def test_the_gpu_of_a_process_is_known_before_its_trainer(
    monkeypatch, accelerator: str, there: bool, place: str | None
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    found = local_gpu(OmegaConf.create({"trainer": {"accelerator": accelerator}}))
    assert (found and str(found)) == place
