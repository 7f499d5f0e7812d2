import json

import llava_folder
import pytest
import torch
from transformers import LlavaConfig

from coin_lightning.backbones.text_side import empty_llava
from coin_lightning.errors import AssetError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "small"
    llava_folder.write(path)
    return path


def test_an_empty_model_has_every_shape_and_no_number(folder):
    empty = empty_llava(str(folder))
    config = LlavaConfig.from_pretrained(folder)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert empty.config.image_token_index == config.image_token_index
    assert empty.lm_head.weight.shape == (config.text_config.vocab_size, config.text_config.hidden_size)
    assert torch.empty(1).device.type == "cpu"  # the default device is back


def test_no_weight_file_is_needed(folder, tmp_path):
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    shapes = [tensor.shape for tensor in empty_llava(str(tmp_path)).state_dict().values()]
    assert shapes == [tensor.shape for tensor in empty_llava(LlavaConfig.from_pretrained(folder)).state_dict().values()]


def test_what_is_no_llava_is_refused(tmp_path):
    with pytest.raises(AssetError, match=r"cannot be loaded by AutoConfig: the folder has no config\.json"):
        empty_llava(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(AssetError, match=r"config\.json is of a LlamaConfig, not of a LLaVA model"):
        empty_llava(str(tmp_path))
