"""``python -m coin_lightning estimate``: its numbers are those of the real module, and of a GPU that was measured."""

import json
import resource
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))

import llava_folder
from omegaconf import OmegaConf
from transformers import CLIPVisionConfig, LlamaConfig

from coin_lightning import assets
from coin_lightning.backbones import llava_smol
from coin_lightning.cli import estimate as command
from coin_lightning.cli.assembly import make_module, make_scenario
from coin_lightning.cli.build import build
from coin_lightning.cli.data_verify import composed
from coin_lightning.cli.estimate import empty_module, estimate
from coin_lightning.errors import ConfigError

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "experiments" / "benchmarks" / "results" / "gpu.json").read_text())
NOWHERE = ["paths.data=/nowhere", "paths.features=/nowhere/features"]
TINY = ["backbone=tiny", "adapter.rank=8", "adapter.alpha=16", *NOWHERE]


def documented() -> list[str]:
    """Overrides of the command that `docs/memory.md` shows."""
    text = (ROOT / "docs" / "memory.md").read_text()
    line = text.partition("python -m coin_lightning estimate ")[2].splitlines()[0]
    assert "+experiment=coin/llava_7b_moelora_e8" in line
    return line.split()


def write_7b(folder: Path) -> Path:
    """A checkpoint of LLaVA-1.5-7B's shape with a small tokenizer, and no weights."""
    llava_folder.write(folder)
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    config, processor = folder / "config.json", folder / "preprocessor_config.json"
    text = LlamaConfig(vocab_size=32064, max_position_embeddings=4096)
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
        patch_size=14, projection_dim=768,
    )  # fmt: skip
    shapes = {"text_config": text.to_dict(), "vision_config": vision.to_dict(), "image_seq_length": 576}
    config.write_text(json.dumps({**json.loads(config.read_text()), **shapes}))
    sizes = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
    processor.write_text(json.dumps({**json.loads(processor.read_text()), **sizes}))
    return folder


def test_a_7b_model_takes_seconds_and_agrees_with_a_measured_gpu(tmp_path: Path) -> None:
    tokens = MEASURED["image_tokens"] + MEASURED["text_tokens"]
    words = [*documented(), f"backbone.path={write_7b(tmp_path / 'model')}", *NOWHERE]
    words += ["scenario.order=[textvqa]", "protocol.global_batch=64", "protocol.loss_weighting=exact"]
    words += ["scenario.tasks.textvqa.batches.size=8"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [sys.executable, "-m", "coin_lightning", "estimate", "--json", f"--length={tokens}", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 60  # ten on a fast core; of its own, whatever else the machine does
    assert after.ru_maxrss < 1.5e6 or after.ru_maxrss == before.ru_maxrss  # kB; an earlier child may have been larger
    found = json.loads(run.stdout)
    assert found["parameters"]["trained"] == MEASURED["trainable_parameters"]["ours, MoELoRA"]
    assert found["tasks"][0] == {
        "task": "textvqa", "title": "TextVQA", "batch_size": 8, "accumulation": 1, "devices": 8, "global_batch": 64,
    }  # fmt: skip
    assert found["memory"]["weights"]["bfloat16"] == pytest.approx(2 * 7.06e9, rel=0.01)
    kept = found["memory"]["gradients"] + found["memory"]["optimizer"]
    cases = [case for case in MEASURED["scaling"] if case["samples"] == found["activations"]["rows"]]
    measured = {case["checkpointing"]: case["bytes_beside_weights"] for case in cases}
    assert kept + found["activations"]["none"] == pytest.approx(measured[False], rel=0.05)
    # recomputed layers are gone where the gradients are complete: the sum is an upper bound
    assert measured[True] <= kept + found["activations"]["all"] < 1.3 * measured[True]


@pytest.mark.parametrize("method", ["moelora", "hide_llava", "l2p"])
def test_every_method_has_the_numbers_of_the_real_module(method: str) -> None:
    config = composed([*TINY, f"method={method}", "plugin=[replay,ewc]"])
    found = estimate(config)
    scenario = build(config.scenario)
    real = make_module(config, build(config.backbone), [task.name for task in scenario.tasks])
    real.restore(len(scenario.tasks))
    assert found["parameters"]["all"] == sum(weight.numel() for weight in real.parameters())
    assert found["parameters"]["trained"] == sum(real.learning().values())
    tensors = [*chain(real.parameters(), real.buffers())]
    assert sum(found["memory"]["weights"].values()) == sum(tensor.nbytes for tensor in tensors)
    assert found["memory"]["gradients"] == sum(weight.nbytes for weight in real.trainable().values())
    assert found["memory"]["activations"] == found["activations"]["none"] > found["activations"]["all"] > 0


def test_a_limit_for_answers_that_ramble_is_not_learned() -> None:
    """The published code allows 1024 tokens; no right answer has so many."""
    found = [
        estimate(composed([*TINY, f"scenario.tasks.gqa.answers.max_new_tokens={limit}"]))["activations"]
        for limit in (64, 128, 1024)
    ]
    assert [each["answer_tokens"] // each["rows"] for each in found] == [64, 128, 128]
    assert found[0]["none"] < found[1]["none"] == found[2]["none"]


def described(module: torch.nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    tensors = chain(module.named_parameters(), module.named_buffers())
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors}


def test_llava_smol_has_the_numbers_of_the_real_module() -> None:
    if not (assets.cache_root() / "models" / f"llava_smol-{llava_smol.VERSION}").is_dir():
        pytest.skip("not assembled here")
    config = composed(["trainer=cpu", "adapter.rank=8", *NOWHERE])
    scenario = build(config.scenario)
    empty = empty_module(config, scenario, "cpu")
    real = make_module(config, build(config.backbone), [task.name for task in scenario.tasks])
    assert described(empty) == described(real)
    assert all(weight.is_meta for weight in empty.parameters())


def test_the_table_of_a_small_model_without_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*TINY, "backbone.gradient_checkpointing=every_2", "trainer.devices=2"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "tiny on a GPU, 32-true, 2 device(s)", "of which router", "gradient_checkpointing=every_2",
        "with gradient_checkpointing=all", "the data set is not there, or not sound not known",
        "keys and values, 32 x 1024 tokens", "ScienceQA 8 1 2 16", "An estimate. Left out: fragmentation",
    ):  # fmt: skip
        assert text in printed, text


def test_images_are_counted_where_the_data_set_is_there(place) -> None:
    words = place.command("estimated", "trainer=cpu", "answers.batch_size=2")
    features = estimate(composed(words))["features"]
    assert (features["bytes_per_image"], features["bytes"]) == (4 * 16 * 2, features["images"] * 4 * 16 * 2)
    status, text = place.runs.run(place.command("cached", "scenario.train=false", "paths.features=estimated_features"))
    assert status == 0, text
    held = [file.stat().st_size for file in (place.folder / "estimated_features").glob("*/features.bin")]
    assert sum(held) <= features["bytes"]  # equal images under two names are kept once


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--length", "2000"], "--length 2000: must lie between 1 and backbone.max_length=1024"),
        (["protocol.global_batch=7"], "protocol.global_batch=7 of scienceqa is no multiple of 8"),
        (["protocol.global_batch={gqa: 8}", "scenario.joint=true"], "has no number for what is learned: joint; set"),
        (["trainer.precision=transformer-engine"], "trainer.precision=transformer-engine: memory of this one is not"),
        (["backbone.gradient_checkpointing=true"], "gradient_checkpointing=true: must be a word now; write all"),
        (["backbone=qwen_vl"], "backbone.path is not set"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(words, message, capsys) -> None:
    assert command.main([*TINY, *words]) == 1
    assert message in capsys.readouterr().err


def test_a_quantised_base_is_estimated_and_not_run_without_its_package(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    llava_folder.write(folder)
    words = ["backbone=llava_1_5_7b", f"backbone.path={folder}", "backbone.quantization=nf4", *NOWHERE]
    config = composed([*words, "scenario=coin"])
    found = estimate(config)
    assert set(found["memory"]["weights"]) == {"nf4", "bfloat16", "float32", "int64"}
    with pytest.raises(ConfigError, match=r"quantization=nf4 needs the package bitsandbytes, .*quantization\]'"):
        make_scenario(config)


def test_nothing_is_trained_in_a_zero_shot_run() -> None:
    found = estimate(composed([*TINY, "scenario.train=false"]))
    assert (found["activations"], found["tasks"], found["memory"]["activations"]) == ({}, [], 0)
    assert found["answers"]["kv_cache"] > 0


def test_devices_are_read_as_lightning_reads_them() -> None:
    for given, count in ((8, 8), ([0, 2], 2), ("0,1,3", 3), ("1,", 1), ("auto", max(torch.cuda.device_count(), 1))):
        assert command._devices(OmegaConf.create({"trainer": {"devices": given}})) == count
    assert command._devices(OmegaConf.create({"trainer": {"devices": 4, "num_nodes": 2}})) == 8


def test_a_config_folder_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nbatches: {size: 3}\n")
    assert command.main(["--json", f"-cd={tmp_path}", *TINY, "+experiment=mine", "scenario.order=[gqa]"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["global_batch"] == 3
