import llava_folder
import pytest
import torch
from transformers import LlavaConfig

from coin_lightning.backbones.text_side import empty_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "small"
    llava_folder.write(path)
    return path


def test_an_empty_model_has_every_shape_and_no_number(folder):
    config = LlavaConfig.from_pretrained(folder)
    empty = empty_model(config)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert empty.config.image_token_index == config.image_token_index
    assert empty.lm_head.weight.shape == (config.text_config.vocab_size, config.text_config.hidden_size)
    assert torch.empty(1).device.type == "cpu"  # the default device is back
