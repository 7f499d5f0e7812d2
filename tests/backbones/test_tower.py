import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlavaConfig, SiglipVisionConfig

from coin_lightning.backbones import tiny
from coin_lightning.backbones.efficientnet_lite import EfficientNetLiteConfig
from coin_lightning.backbones.tower import check_pixels, feature_shape, image_edge, select_features
from coin_lightning.errors import AssetError

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
         "image_size": 28, "patch_size": 14}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (576, 1024)),  # LLaVA-1.5
        ({"vision_feature_select_strategy": "full"}, (577, 1024)),
        ({"vision_feature_layer": [-2, -5]}, (576, 2048)),
        ({"vision_config": SiglipVisionConfig(**SMALL), "vision_feature_select_strategy": "full"}, (4, 16)),
        ({"vision_config": SiglipVisionConfig(**SMALL)}, (3, 16)),  # it has no class token to leave out
        (
            {"vision_config": EfficientNetLiteConfig(), "vision_feature_select_strategy": "full",
             "vision_feature_layer": -1},
            (49, 1728),
        ),
    ],
    ids=["clip", "with class token", "two layers", "siglip", "siglip, one too few", "efficientnet"],
)  # fmt: skip
def test_tokens_and_width_of_real_towers_without_weights(options, shape):
    assert feature_shape(LlavaConfig(**options), "x") == shape


def test_it_is_what_the_tower_really_gives():
    config = LlavaConfig(vision_config=CLIPVisionConfig(**SMALL))
    states = CLIPVisionModel(config.vision_config)(torch.rand(2, 3, 28, 28), output_hidden_states=True).hidden_states
    features = select_features(states, config)
    assert tuple(features.shape[1:]) == feature_shape(config, "x")
    assert torch.equal(features, states[-2][:, 1:])


def test_a_layer_that_is_not_there():
    config = LlavaConfig(vision_config=CLIPVisionConfig(**SMALL), vision_feature_layer=[-1, 4])
    with pytest.raises(AssetError, match=r"x: config.json has vision_feature_layer=\[-1, 4\], .* 4 layers of states"):
        feature_shape(config, "x")


def test_images_of_another_size_and_towers_that_do_not_say_theirs():
    config = tiny.config(261)
    check_pixels(torch.empty(3, 28, 28), config, "pad", "x")
    with pytest.raises(AssetError, match=r"x: preprocessor_config\.json makes images of 56 x 28 pixels with .*=crop"):
        check_pixels(torch.empty(3, 28, 56), config, "crop", "x")
    config.vision_config.image_size = None
    assert image_edge(config) is None
    check_pixels(torch.empty(3, 28, 56), config, "crop", "x")
