"""Checkpoints of the hub whose files are not those that transformers writes today."""

from pathlib import Path

import pytest
import torch
from published_families import change, qwen2_5_vl
from small_families import write

from coin_lightning.backbones.families.qwen2_5_vl import Qwen25VL
from coin_lightning.backbones.families.qwen3_vl import Qwen3VL
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.errors import AssetError

SETTINGS = ("vocab_size", "max_position_embeddings", "layer_types", "sliding_window", "hidden_size", "rms_norm_eps")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5-VL as the hub has it; not to be changed."""
    return qwen2_5_vl(tmp_path_factory.mktemp("hub") / "qwen2_5_vl")


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """The same, to be changed."""
    return qwen2_5_vl(tmp_path / "qwen2_5_vl")


def test_a_flat_config_is_the_model_of_the_nested_one(published: Path, tmp_path: Path):
    flat = load_backbone(published, "chatml", Qwen25VL, dtype="float32").model
    nested = load_backbone(write("qwen2_5_vl", tmp_path), "chatml", Qwen25VL, dtype="float32").model
    texts = [model.config.text_config for model in (flat, nested)]
    assert [getattr(texts[0], key) for key in SETTINGS] == [getattr(texts[1], key) for key in SETTINGS]
    assert texts[0].rope_parameters["rope_type"] == "default"  # and not "mrope", which would be no plain context
    ids = torch.arange(1, 40)[None]
    assert torch.equal(flat(input_ids=ids).logits, nested(input_ids=ids).logits)


def test_a_config_without_anything_of_the_language_model_is_refused(qwen: Path):
    change(qwen / "config.json", lambda config: config.pop("hidden_size"))
    with pytest.raises(AssetError, match=r"config\.json has no text_config; fetch the checkpoint again"):
        load_backbone(qwen, "chatml", Qwen25VL)


def test_a_flat_config_without_a_tower_is_refused(qwen: Path):
    change(qwen / "config.json", lambda config: config.pop("vision_config"))
    with pytest.raises(AssetError, match=r"config\.json has no vision_config; fetch the checkpoint again"):
        load_backbone(qwen, "chatml", Qwen25VL)


def test_other_families_are_never_flat(qwen: Path):
    change(qwen / "config.json", lambda config: config.update(model_type="qwen3_vl"))
    with pytest.raises(AssetError, match=r"config\.json has no text_config"):
        load_backbone(qwen, "chatml", Qwen3VL)
