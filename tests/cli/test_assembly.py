"""From a config to the parts of a run: what is refused at once, and how the parts fit together."""

import io
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from coin_lightning.cli.assembly import assemble, counting, make_scenario
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import ConfigError
from coin_lightning.quiet import quiet_libraries
from coin_lightning.run_files import read_json
from run_configs import config_of


def composed(place, run: Path, *more: str) -> DictConfig:
    """The config of a run on the small suite, resolved."""
    return config_of(place.command("unused", "trainer=cpu", *more, f"run_dir={run}", tasks="imagenet,gqa"))


def test_a_batch_that_no_machine_makes_is_refused_with_the_task(place, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"protocol\.global_batch=9 of gqa is no multiple of 4"):
        make_scenario(composed(place, tmp_path, "protocol.global_batch={gqa: 9}"))
    with pytest.raises(ConfigError, match=r"protocol\.global_batch=9 of joint is no multiple of 4"):
        make_scenario(composed(place, tmp_path, "protocol.global_batch=9", "scenario.joint=true"))
    make_scenario(composed(place, tmp_path, "protocol.global_batch=9", "scenario.train=false"))  # nothing is trained


def test_the_parts_know_each_other_and_nothing_is_trained_yet(place, tmp_path: Path):
    quiet_libraries()
    config = composed(place, tmp_path / "run", "protocol.global_batch=8", "data.limit_test=2")
    scenario = make_scenario(config)
    run = RunDir(tmp_path / "run", [task.name for task in scenario.tasks], scenario.training)
    resolved: Any = OmegaConf.to_container(config)
    parts = assemble(config, resolved, scenario, run, Console(file=io.StringIO()))
    assert (parts.loop.scenario, parts.loop.run, parts.make.module) == (scenario, run, parts.module)
    assert set(read_json(run.path / "subsets.json")) == {"imagenet", "gqa"}
    assert not list(run.path.glob("task_*"))
    experience = parts.loop.next_experience(parts.module)
    assert parts.make(experience).accumulate_grad_batches == 1  # zero-shot learns nothing
    facts = parts.loop.facts
    assert (facts["backbone"], facts["published"], facts["protocol"]["judge"]) == ("tiny", None, None)
    assert facts["protocol"]["global_batch"] == "8"
    assert facts["protocol"]["batch"] == "4 x 2 x 1"
    assert facts["protocol"]["test_samples"] == 4


@pytest.mark.parametrize(
    ("words", "epochs", "fraction", "samples"),
    [
        # 20 training samples of each task: half of imagenet's 20 and all of gqa's
        ((), "gqa 3, imagenet 2", "gqa 1.0, imagenet 0.5", 30),
        (("scenario.joint=true",), 2, "gqa 1.0, imagenet 0.5", 30),
        (("scenario.order=[gqa]",), 3, 1.0, 20),
        (("scenario.train=false",), 0, "gqa 1.0, imagenet 0.5", 0),
    ],
)
def test_a_protocol_tells_what_a_task_has_for_itself(place, tmp_path: Path, words, epochs, fraction, samples):
    quiet_libraries()
    own = ["scenario.tasks.gqa.batches.epochs=3", "scenario.tasks.imagenet.data.fraction=0.5"]
    config = composed(place, tmp_path / "run", "data.limit_test=1", *own, *words)
    scenario = make_scenario(config)
    run = RunDir(tmp_path / "run", [task.name for task in scenario.tasks], scenario.training)
    resolved: Any = OmegaConf.to_container(config)
    told = assemble(config, resolved, scenario, run, Console(file=io.StringIO())).loop.facts["protocol"]
    assert (told["epochs"], told["fraction"], told["train_samples"]) == (epochs, fraction, samples)
    assert told["instructions"] == "Instructions_Original"


def test_images_are_counted_while_they_are_checked():
    console = Console(file=io.StringIO())
    status = console.status("x")
    tell = counting(status)
    tell("gqa", 2000)
    tell("vqav2", 1)
    assert status.status == "reading and checking the data: vqav2, 2001 images"
