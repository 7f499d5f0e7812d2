"""A language model of 4 or 8 bits per weight through bitsandbytes: settings, and what a weight then takes.

PEFT's `prepare_model_for_kbit_training` is not used: it would make tower, embeddings and head float32, so that they
took twice the memory, cached features were others, and the run's precision no longer that of `backbone.dtype`.
"""

from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from coin_lightning.backbones.family import Family
from coin_lightning.errors import ConfigError

KEY = "backbone.quantization"
BYTES = {"nf4": 0.5 + 1 / 64 + 4 / (64 * 256), "int8": 1.0}
"""Of a weight. nf4 adds a scale of one byte per block of 64, and one of four per 256 scales (double quantisation;
Dettmers et al. 2023, QLoRA, arXiv 2305.14314, section 3); int8 adds one of four per row, which is left out here."""


def check_quantization(kind: str | None, usable: bool = True) -> None:
    """Whether a base can be quantised in this way.

    Args:
        kind: `nf4`, `int8` or null.
        usable: it is going to be done, so bitsandbytes is needed.

    Raises:
        ConfigError: an unknown kind, or the package is missing.
    """
    if kind is None:
        return
    if kind not in BYTES:
        raise ConfigError(f"{KEY}={kind!r} is unknown; use null, nf4 or int8")
    if usable and find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"{KEY}={kind} needs the package bitsandbytes, which is not installed: pip install "
            f"'coin-lightning[quantization]', or {KEY}=null"
        )


def kept(family: type[Family]) -> list[str]:
    """Parts that stay unquantised: the image parts and the head, by their whole names.

    transformers compares them with the beginning of a module's name: a part of it would be found nowhere.
    """
    return [*(f"model.{part}" for part in (family.tower, *family.projectors)), "lm_head"]


def quantization(kind: str | None, dtype: torch.dtype, family: type[Family]) -> Any:
    """transformers' settings for a quantised base; None for none.

    Raises:
        ConfigError: as `check_quantization`.
    """
    check_quantization(kind)
    if kind is None:
        return None
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept(family))
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept(family),
    )  # fmt: skip
