"""A LLaVA-shaped random model in bfloat16 on a GPU: learns, answers, and goes on after a kill.

Each run is a process of its own: a process that has looked for a GPU cannot be forked and use it.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SECOND = """
import sys
import torch
from omegaconf import OmegaConf
from coin_lightning.cli.trainers import check_processes
trainer = {"_target_": "lightning.Trainer", "accelerator": "gpu", "devices": [1]}
check_processes(OmegaConf.create({"trainer": trainer, "callbacks": {}, "backbone": {}}))
sys.exit(torch.cuda.current_device())
"""
"""Exit status: the number of the default GPU, when the trainer has the second."""


def settings(place, name: str, *more: str) -> list[str]:
    return place.command(name, "+backbone.dtype=bfloat16", "trainer.accelerator=gpu", *more, tasks="imagenet,textvqa")


def run(place, argv: list[str]) -> tuple[int, str]:
    """Exit status and text of a run."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "coin_lightning", *argv], env=env, cwd=place.folder, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def on_gpu(place) -> Path:
    status, text = run(place, settings(place, "gpu", *place.record("gpu_recorded")))
    assert status == 0, text
    return place.folder / "gpu"


def test_runs_in_mixed_precision_with_adapters_in_float32(on_gpu: Path):
    matrix = json.loads((on_gpu / "matrix.json").read_text())
    assert matrix["protocol"]["precision"] == "bf16-mixed"
    assert matrix["cost"]["peak_memory_bytes"] > 0
    saved = load_file(on_gpu / "task_02_textvqa" / "adapter" / "adapter_model.safetensors")
    assert all(value.dtype == torch.float32 for value in saved.values())
    assert all(value.isfinite().all() for value in saved.values())


def test_trainable_weights_move_and_others_do_not(place, on_gpu: Path):
    for position in (1, 2):
        seen = json.loads((place.folder / "gpu_recorded" / f"{position}.0.json").read_text())
        moved = {name for name, value in seen["before"].items() if seen["after"][name] != value}
        assert moved == set(seen["trainable"])


def test_goes_on_after_a_kill(place, on_gpu: Path):
    assert run(place, [*settings(place, "gpu_killed"), *place.kill(2, "train", 9)])[0] == -signal.SIGKILL
    status, text = run(place, settings(place, "gpu_killed"))
    assert status == 0, text
    file = Path("task_02_textvqa", "adapter", "adapter_model.safetensors")
    one, two = load_file(on_gpu / file), load_file(place.folder / "gpu_killed" / file)
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_what_loads_before_the_trainer_runs_finds_its_gpu():
    """Quantised weights go to the default one."""
    done = subprocess.run([sys.executable, "-c", SECOND], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 1


@pytest.mark.parametrize("kind", ["default", "fsdp"])
def test_hooks_before_a_task_see_weights_where_they_are_learned(place, kind: str):
    """A pass over data, too, where the model is whole."""
    anchors = ["+plugin.anchors._target_=probes.Anchors", f"+plugin.anchors.passes={kind != 'fsdp'}"]
    status, text = run(place, settings(place, f"gpu_anchors_{kind}", f"trainer={kind}", *anchors))
    assert status == 0, text


@pytest.mark.parametrize("kind", ["fsdp", "fsdp trainer.strategy.offload=true", "deepspeed_zero2", "deepspeed_zero3"])
def test_a_model_over_all_devices_ends_where_one_device_does(place, kind: str):
    """Of all GPUs of the machine; the command starts its processes."""
    same = ["+backbone.dtype=bfloat16", "adapter.dropout=0.0"]
    if kind.startswith("deepspeed"):
        pytest.importorskip("deepspeed")
        same = ["+backbone.dtype=float32", "adapter.dropout=0.0", "~callbacks.checkpoint"]
    count = torch.cuda.device_count()
    size = f"batches.size={max(4 // count, 1)}"
    for name, trainer in ((f"gpu_{kind}", [*f"trainer={kind}".split(), size]), (f"gpu_one_{kind}", [])):
        status, text = run(place, place.command(name, *trainer, *same, tasks="imagenet,textvqa"))
        assert status == 0, text
    file = Path("task_02_textvqa", "adapter", "adapter_model.safetensors")
    one, many = (load_file(place.folder / name / file) for name in (f"gpu_one_{kind}", f"gpu_{kind}"))
    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in many.items()}
    assert all(torch.allclose(one[name], many[name], atol=1e-2) for name in one)
