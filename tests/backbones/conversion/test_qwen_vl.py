"""Qwen-VL's published files by the command: what comes out computes what the paper's model does."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import published_qwen_vl as published

from coin_lightning.adapters.build import LANGUAGE_MODEL_LINEARS, lora
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.conversion.qwen_vl import conversion, of_heads
from coin_lightning.backbones.families.qwen_vl import QwenVL
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.cli.convert import main
from coin_lightning.errors import AssetError, ConfigError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write(tmp_path_factory.mktemp("hub") / "Qwen-VL-Chat")


@pytest.fixture(scope="module")
def folder(source: Path) -> Path:
    out = source.parent / "converted"
    assert main(["qwen_vl", str(source), str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(folder, "qwen", QwenVL, dtype="float32")


def encoded(backbone: Backbone, turns: list[Turn]) -> list[int]:
    images = sum(turn.images for turn in turns)
    return backbone.tokens(backbone.prompt.render(turns), [()] * images)[0]


PIXELS = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(3))
TALKS = [
    [Turn("What is the cat?", "It is the cat", 1)],
    [Turn("Why?", "No")],
    [Turn("Both?", "It is", 2), Turn("What?", "th")],
]


@pytest.mark.parametrize("turns", TALKS, ids=["image", "text", "two images"])
def test_logits_are_those_of_the_published_weights_written_out_slowly(backbone: Backbone, turns: list[Turn]):
    ids, count = encoded(backbone, turns), sum(turn.images for turn in turns)
    features = (
        backbone.family.features(backbone.core, [{"pixel_values": each[None]} for each in PIXELS[:count]])
        if count
        else []
    )
    images = backbone.project(torch.cat(features), [()] * count) if count else None
    found = backbone.model.lm_head(backbone.hidden_states(torch.tensor([ids]), images))[0]
    expected = published.logits(published.state(), ids, list(PIXELS[:count]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-4)
    assert expected.abs().max() > 5


def test_an_image_stands_between_its_tags_as_in_the_authors_code(backbone: Backbone):
    ids = encoded(backbone, [Turn("What is it?", "It", 1)])
    start = published.IMAGE_START
    at = ids.index(start)
    assert ids[at : at + 6] == [start, *[start + 2] * 4, start + 1]
    assert backbone.tokenizer.decode(ids[at - 11 : at]) == "Picture 1: "


def test_lora_of_the_papers_row_shares_a_matrix_in_the_fused_layer_and_leaves_the_last_one_alone(folder: Path):
    """`c_attn, attn.c_proj, w1, w2` of Qwen-VL's finetuning: rank 64 takes 1.05 M weights a layer at full size, where
    three layers of their own would take 1.57 M."""
    targets = ["qkv_proj", "o_proj", "gate_proj", "up_proj"]
    backbone = load_backbone(folder, "qwen", QwenVL, dtype="float32")
    wrapped = put_adapter(backbone.model, backbone.language_model, lora(rank=4, targets=targets))
    shapes = {
        name.split("layers.")[1]: tuple(weight.shape)
        for name, weight in wrapped.named_parameters()
        if weight.requires_grad
    }
    assert shapes["0.self_attn.qkv_proj.lora_A.default.weight"] == (4, 256)
    assert shapes["0.self_attn.qkv_proj.lora_B.default.weight"] == (768, 4)
    assert len(shapes) == 2 * 2 * 4
    assert not any("down_proj" in name for name in shapes)
    fused, split = 64 * (4096 + 3 * 4096), 64 * 3 * (4096 + 4096)
    assert (round(fused / 1e6, 2), round(split / 1e6, 2)) == (1.05, 1.57)


def test_all_linear_layers_of_the_language_model_are_adapted_by_default(folder: Path):
    backbone = load_backbone(folder, "qwen", QwenVL, dtype="float32")
    wrapped = put_adapter(backbone.model, backbone.language_model, lora(rank=4, targets=LANGUAGE_MODEL_LINEARS))
    names = {name.split(".lora_A")[0].rsplit(".", 1)[1] for name, _ in wrapped.named_parameters() if ".lora_A" in name}
    assert names == {"qkv_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_more_positions_than_qwen_vl_was_trained_with_are_refused(folder: Path):
    """Beyond them it stretches positions and scales attention while it answers, and not while it learns."""
    with pytest.raises(
        ConfigError, match=r"backbone\.max_length=2049 is more than text_config\.max_position_embeddings=2048"
    ):
        load_backbone(folder, "qwen", QwenVL, max_length=2049, weights=False)


def test_rows_of_the_towers_joint_matrix_lie_head_by_head():
    rows = torch.arange(12.0)[:, None]  # two heads of two values: q q k k v v, and again
    assert of_heads(rows, 2, 0).flatten().tolist() == [0, 1, 6, 7]
    assert of_heads(rows, 2, 1).flatten().tolist() == [2, 3, 8, 9]
    assert of_heads(rows, 2, 2).flatten().tolist() == [4, 5, 10, 11]


def test_the_published_folder_itself_is_told_what_to_do_with(source: Path):
    with pytest.raises(AssetError, match=r"model_type='qwen', must be 'qwen_vl'.*convert qwen_vl SRC OUT"):
        load_backbone(source, "qwen", QwenVL)
    with pytest.raises(ConfigError, match=r"backbone.path is not set.*convert qwen_vl SRC OUT"):
        load_backbone(None, "qwen", QwenVL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen2"}, "model_type='qwen2' and a visual part; this is no Qwen-VL"),
        ({"visual": None}, "no visual part; this is no Qwen-VL"),
        ({"seq_length": None}, "config.json: has no seq_length"),
        ({"visual": {**published.VISUAL, "width": None}}, r"has no visual\.width"),
        (
            {"visual": {**published.VISUAL, "image_start_id": 151857}},
            r"image_start_id=151857, but qwen.tiktoken makes <img> \d+",
        ),
        ({"rotary_pct": 0.25}, "has rotary_pct=0.25; only 1.0 is known"),
        ({"hidden_size": 128}, r"attn_pool\.query \[4, 256\] has another shape than config.json says, .* \[4, 128\]"),
        ({"num_hidden_layers": 3}, r"8 weights are missing, e\.g\. transformer\.h\.2"),
        ({"num_hidden_layers": 1}, r"8 weights have no place in a qwen_vl, e\.g\. transformer\.h\.1"),
    ],
)  # fmt: skip
def test_a_config_that_is_not_of_these_weights_is_refused_before_one_is_read(
    source, tmp_path, capsys, changes, message
):
    for file in source.iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = {key: value for key, value in {**published.CONFIG, **changes}.items() if value is not None}
    if isinstance(config.get("visual"), dict):
        config["visual"] = {key: value for key, value in config["visual"].items() if value is not None}
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["qwen_vl", str(tmp_path), str(tmp_path / "out")]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_weights_keep_the_type_in_which_they_are_published(tmp_path: Path):
    source = published.write(tmp_path / "half", published.state(dtype=torch.bfloat16))
    assert main(["qwen_vl", str(source), str(tmp_path / "out")]) == 0
    assert {tensor.dtype for file in conversion(source).files for tensor in file.shapes.values()} == {torch.bfloat16}
    backbone = load_backbone(tmp_path / "out", "qwen", QwenVL, dtype="bfloat16")
    stored = published.state(dtype=torch.bfloat16)["transformer.h.1.mlp.w2.weight"]
    assert torch.equal(backbone.language_model.layers[1].mlp.gate_proj.weight, stored)
