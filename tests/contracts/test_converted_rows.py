"""The rows of CoIN's tables with Qwen-VL and MiniGPT-v2: published files, the command, a run of all eight tasks."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))

import published_minigpt_v2
import published_qwen_vl

from coin_lightning.cli.convert import main

TASKS = "scienceqa,textvqa,imagenet,gqa,vizwiz,grounding,vqav2,ocrvqa"
SOURCES = {
    "qwen_vl_chat_lora": (published_qwen_vl.write, ["qwen_vl"]),
    "minigpt_v2_lora": (published_minigpt_v2.write, ["minigpt_v2", "--lora", "left_out"]),
}
SHORT = "answers.max_new_tokens=4"
"""Models so small end no answer."""
ADAPTED = {
    "qwen_vl_chat_lora": {"qkv_proj", "o_proj", "gate_proj", "up_proj"},
    "minigpt_v2_lora": {"q_proj", "v_proj", "multi_modal_projector"},
}
"""Layers that learn: Qwen-VL's resampler stays, MiniGPT-v2's linear layer learns, as in CoIN's code."""


@pytest.fixture(scope="module", params=list(SOURCES))
def run(request: pytest.FixtureRequest, place: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a row."""
    row, (write, (kind, *options)) = request.param, SOURCES[request.param]
    folder = tmp_path_factory.mktemp(kind)
    assert main([kind, str(write(folder / "published")), str(folder / "converted"), *options]) == 0
    words = [
        f"+experiment=coin/{row}", f"paths.coin={place.suite}", f"backbone.path={folder / 'converted'}",
        "backbone.dtype=float32", "backbone.max_length=1024", "data.limit_train=8", "data.limit_test=1",
        "protocol.global_batch=null", "batches.num_workers=0", "trainer=cpu",
        *(f"scenario.tasks.{task}.{key}" for task in TASKS.split(",") for key in ("batches.size=2", SHORT)),
        "protocol.test_subset=full",
    ]  # fmt: skip
    own = {word.split("=")[0] for word in words} | {"backbone", "paths.data", "callbacks.checkpoint.every_n_steps"}
    base = [word for word in place.command(f"row_{row}", tasks=TASKS) if word.split("=")[0] not in own]
    status, text = place.runs.run([*words, *(word for word in base if not word.startswith(("adapter", "batches.")))])
    assert status == 0, text
    return Path(place.folder / f"row_{row}")


def test_it_ends_with_a_matrix_of_eight_tasks(run: Path):
    scores = json.loads((run / "matrix.json").read_text())
    assert len(scores["tasks"]) == 8
    assert len(list(run.glob("task_0[1-8]_*/adapter/adapter_model.safetensors"))) == 8


def test_what_learns_is_what_learns_in_coins_code(run: Path):
    saved = load_file(run / "task_01_scienceqa" / "adapter" / "adapter_model.safetensors")
    layers = {name.split(".lora_")[0].rsplit(".", 1)[-1] if ".lora_" in name else name.split(".")[-2] for name in saved}
    assert layers == ADAPTED[run.name.removeprefix("row_")]
