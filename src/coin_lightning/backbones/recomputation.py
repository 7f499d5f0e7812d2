"""Which decoder layers are computed again in the backward pass, in place of keeping what they have computed.

Kept memory falls from every layer's activations to the inputs of the recomputed ones (Chen et al. 2016, "Training deep
nets with sublinear memory cost", arXiv 1604.06174); the price is a second forward pass of these layers. No bit of a
gradient changes.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from coin_lightning.errors import ConfigError

KEY = "backbone.gradient_checkpointing"
NONE, ALL = "none", "all"
EVERY = re.compile(r"every_([1-9]\d*)")
FORMER = {True: ALL, False: NONE}
"""What the two values that this key had at first are called now."""


def spacing(choice: Any) -> int:
    """Of how many neighbouring layers one is recomputed: 1 for `all`, k for `every_k`, 0 for `none`.

    Raises:
        ConfigError: it is none of these.
    """
    if problem := _problem(choice):
        raise ConfigError(f"{KEY}={choice!r}: {problem}")
    found = EVERY.fullmatch(choice)
    return int(found.group(1)) if found else int(choice == ALL)


def _problem(choice: Any) -> str | None:
    if isinstance(choice, bool):
        return f"must be a word now; write {FORMER[choice]} (there are none, all, and every_2, every_3, ...)"
    if isinstance(choice, str) and (choice in (NONE, ALL) or EVERY.fullmatch(choice)):
        return None
    return "must be none, all, or every_2, every_3, ...: each second, third, ... layer of the language model"


def _known(choice: Any) -> Any:
    if problem := _problem(choice):
        raise PydanticCustomError("recomputation", "{problem}", {"problem": problem})
    return choice


Recomputation = Annotated[str, BeforeValidator(_known)]
"""`none`, `all` or `every_<k>`, as annotation of a loader's option."""


def decoder_layers(language_model: nn.Module) -> list[nn.Module]:
    """Layers of a language model that transformers can recompute, in order."""
    return [module for module in language_model.modules() if isinstance(module, GradientCheckpointingLayer)]


def recompute(language_model: Any, choice: str) -> None:
    """Let every k-th layer, the first of them included, be recomputed; it acts in training mode only.

    Args:
        language_model: of transformers.
        choice: see `spacing`.

    Raises:
        ConfigError: the choice is unknown, or leaves out all layers but the first, or the model has no such layers.
    """
    every, layers = spacing(choice), decoder_layers(language_model)
    if every and not layers:
        raise ConfigError(f"{KEY}={choice}: {type(language_model).__name__} cannot recompute its layers; use {NONE}")
    if every > max(len(layers), 1):
        most = len(layers)
        raise ConfigError(f"{KEY}={choice}: the language model has {most} layers; use every_{most} or less")
    if every:
        language_model.gradient_checkpointing_enable({"use_reentrant": False})
    for number, layer in enumerate(layers):
        layer.gradient_checkpointing = bool(every) and number % every == 0  # type: ignore[assignment]
