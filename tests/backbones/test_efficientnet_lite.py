import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModel

from coin_lightning import assets
from coin_lightning.backbones.efficientnet_lite import (
    STAGES,
    EfficientNetLiteConfig,
    EfficientNetLiteModel,
    SamePadConv,
    convert_state_dict,
)

TOKEN = 1280 + 4 * 112


@pytest.fixture(scope="module")
def tower() -> EfficientNetLiteModel:
    torch.manual_seed(0)
    return EfficientNetLiteModel(EfficientNetLiteConfig()).eval()


def ones(kernel: int, stride: int) -> SamePadConv:
    conv = SamePadConv(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(conv.weight)
    return conv


@torch.no_grad()
def test_same_padding_by_hand():
    row = torch.tensor([1.0, 2.0, 3.0, 4.0])
    square = row.outer(torch.tensor([1.0, 0.0, 0.0, 0.0]))[None, None]  # the numbers down the first column
    # size 4, kernel 3, stride 2: one pixel of padding, at the end; windows 1 2 3 and 3 4 0
    assert ones(3, 2)(square)[0, 0, :, 0].tolist() == [6.0, 7.0]
    # stride 1: one pixel on each side
    assert ones(3, 1)(square)[0, 0, :, 0].tolist() == [3.0, 6.0, 9.0, 7.0]
    # size 5, stride 2: one on each side as well; windows 0 1 2, 2 3 4, 4 5 0
    five = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).outer(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]))[None, None]
    assert ones(3, 2)(five)[0, 0, :, 0].tolist() == [3.0, 9.0, 9.0]
    # kernel 5, stride 2, size 4: three pixels, one before and two after; windows 0 1 2 3 4 and 2 3 4 0 0
    assert ones(5, 2)(square)[0, 0, :, 0].tolist() == [10.0, 9.0]
    # kernel 1 needs none
    assert ones(1, 1)(square)[0, 0, :, 0].tolist() == [1.0, 2.0, 3.0, 4.0]


@torch.no_grad()
def test_width_and_height_are_padded_on_their_own():
    wide = torch.zeros(1, 1, 5, 4)
    wide[0, 0, 4, 3] = 1.0
    assert ones(3, 2)(wide).shape == (1, 1, 3, 2)
    assert ones(3, 2)(wide)[0, 0].tolist() == [[0, 0], [0, 0], [0, 1]]


@torch.no_grad()
def test_tokens_join_head_and_the_four_cells_below_and_are_normalised(tower):
    pixels = torch.randn(2, 3, 64, 96)
    fine, head = tower.feature_maps(pixels)
    assert fine.shape == (2, 112, 4, 6)
    assert head.shape == (2, 1280, 2, 3)
    tokens = tower(pixels).hidden_states[-1]
    assert tokens.shape == (2, 6, TOKEN)
    row, column = 1, 2  # token 1 * 3 + 2
    expected_head = F.layer_norm(head[0, :, row, column], (1280,))
    cells = fine[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()  # channel, then row, then column
    assert torch.allclose(tokens[0, 5, :1280], expected_head, atol=1e-4)
    assert torch.allclose(tokens[0, 5, 1280:], F.layer_norm(cells, (448,)), atol=1e-4)


@torch.no_grad()
def test_the_usual_image_gives_49_tokens(tower):
    assert tower(torch.randn(1, 3, 224, 224)).hidden_states[-1].shape == (1, 49, TOKEN)


def test_size_and_strides_are_those_of_lite0(tower):
    # table 1 without squeeze-and-excitation: 3.4 M for the tower, 4.65 M with the classifier of 1280 x 1000 + 1000
    assert sum(parameter.numel() for parameter in tower.parameters()) + 1_281_000 == 4_652_008
    assert sum(stage[4] for stage in STAGES) == len(tower.blocks) == 16
    assert [at for at, block in enumerate(tower.blocks) if block.depthwise[0].stride == (2, 2)] == [1, 3, 5, 11]
    assert [at for at, block in enumerate(tower.blocks) if block.skip] == [2, 4, 6, 7, 9, 10, 12, 13, 14]
    assert tower.blocks[0].expand is None


def test_transformers_knows_the_tower_by_name(tower, tmp_path):
    tower.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), EfficientNetLiteConfig)
    again = AutoModel.from_pretrained(tmp_path)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in tower.state_dict().items())


def test_released_names_by_hand():
    names = {
        "_conv_stem.weight": "stem.0.weight",
        "_bn0.running_mean": "stem.1.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.depthwise.0.weight",
        "_blocks.3._expand_conv.weight": "blocks.3.expand.0.weight",
        "_blocks.3._bn0.bias": "blocks.3.expand.1.bias",
        "_blocks.3._bn1.bias": "blocks.3.depthwise.1.bias",
        "_blocks.15._project_conv.weight": "blocks.15.project.0.weight",
        "_blocks.15._bn2.weight": "blocks.15.project.1.weight",
        "_conv_head.weight": "head.0.weight",
        "_bn1.weight": "head.1.weight",
    }
    source = {name: torch.tensor(float(at)) for at, name in enumerate(names)} | {"_fc.weight": torch.zeros(1)}
    assert convert_state_dict(source) == {new: source[old] for old, new in names.items()}
    with pytest.raises(KeyError):
        convert_state_dict({"_blocks.0._se_reduce.weight": torch.zeros(1)})


@pytest.fixture(scope="module")
def released() -> dict[str, torch.Tensor]:
    from coin_lightning.backbones.llava_smol import TOWER

    return torch.load(assets.unpack(assets.EFFICIENTNET_LITE0) / TOWER, weights_only=True)


@pytest.mark.assets
def test_the_released_weights_fill_every_tensor(released, tower):
    converted = convert_state_dict(released)
    own = tower.state_dict()
    assert set(converted) == set(own)
    assert {name: tensor.shape for name, tensor in converted.items()} == {name: t.shape for name, t in own.items()}
    assert set(released) - {"_fc.weight", "_fc.bias"} == {name for name in released if not name.startswith("_fc")}


@pytest.mark.assets
@torch.no_grad()
@pytest.mark.parametrize(
    ("photo", "classes"),
    [
        ("coffee.png", {504, 967, 968, 969}),  # coffee mug, espresso, cup, eggnog
        ("chelsea.png", {281, 282, 285}),  # tabby, tiger cat, Egyptian cat
        ("rocket.jpg", {657, 744, 812}),  # missile, projectile, space shuttle
    ],
)
def test_with_the_released_classifier_it_names_photos(released, photo, classes):
    import numpy as np
    from PIL import Image

    tower = EfficientNetLiteModel(EfficientNetLiteConfig()).eval()
    tower.load_state_dict(convert_state_dict(released))
    file = next(assets.unpack(assets.SCIKIT_IMAGE).rglob(photo))
    image = Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1
    _, head = tower.feature_maps(pixels)
    logits = F.linear(head.mean((2, 3)), released["_fc.weight"], released["_fc.bias"])[0]
    assert logits.numel() == 1000
    assert classes & set(logits.topk(3).indices.tolist())
