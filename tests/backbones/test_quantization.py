"""Few bits per weight: what is refused, and with what remedy."""

import pytest
import torch

from coin_lightning.backbones import quantization
from coin_lightning.backbones.families.llava import Llava
from coin_lightning.errors import ConfigError


def test_unknown_kinds_are_refused_and_null_is_none() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.quantization='int3' is unknown; use null, nf4 or int8"):
        quantization.check_quantization("int3", usable=False)
    assert quantization.quantization(None, torch.bfloat16, Llava) is None


def test_without_the_package_it_is_only_refused_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    quantization.check_quantization("nf4", usable=False)
    with pytest.raises(ConfigError, match=r"quantization=int8 needs the package bitsandbytes"):
        quantization.quantization("int8", torch.bfloat16, Llava)


def test_image_parts_and_head_stay_as_they_are() -> None:
    assert quantization.kept(Llava) == ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
