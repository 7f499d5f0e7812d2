"""Adapter settings by the names that experiments sweep: `rank`, `alpha`, `num_experts`; and adapter weights on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from peft import LoraConfig, PeftConfig, PeftModel
from peft.utils import load_peft_weights, set_peft_model_state_dict
from pydantic import Field, PositiveFloat, PositiveInt
from safetensors import SafetensorError

from coin_lightning.adapters.moelora import MoELoraConfig
from coin_lightning.errors import RunError

Share = Annotated[float, Field(ge=0, lt=1)]
LANGUAGE_MODEL_LINEARS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""CoIN adapts every linear layer of the language model but the head (`coin_reference.md` section 1.3)."""


def moelora(
    rank: PositiveInt = 128,
    alpha: PositiveFloat = 256,
    num_experts: PositiveInt = 8,
    dropout: Share = 0.05,
    targets: str | Sequence[str] = LANGUAGE_MODEL_LINEARS,
    **options: Any,
) -> MoELoraConfig:
    """MoELoRA of total rank `rank` over `num_experts` experts; further options as in `MoELoraConfig`."""
    return MoELoraConfig(
        r=rank,
        alpha=alpha,
        num_experts=num_experts,
        dropout=dropout,
        target_modules=_targets(targets),
        task_type="CAUSAL_LM",
        **options,
    )


def lora(
    rank: PositiveInt = 128,
    alpha: PositiveFloat = 256,
    dropout: Share = 0.05,
    targets: str | Sequence[str] = LANGUAGE_MODEL_LINEARS,
    **options: Any,
) -> LoraConfig:
    """PEFT's LoRA, scaled by `alpha / rank`; further options as in `peft.LoraConfig`."""
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT says int and takes any number
        lora_dropout=dropout,
        target_modules=_targets(targets),
        task_type="CAUSAL_LM",
        **options,
    )


def _targets(targets: str | Sequence[str]) -> str | list[str]:
    return targets if isinstance(targets, str) else list(targets)


def save_adapter(model: PeftModel, folder: Path) -> int:
    """Write the adapter in PEFT's format (safetensors and JSON) and return its size in bytes."""
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".safetensors", ".json"))


def load_adapter(model: PeftModel, folder: Path) -> None:
    """Put saved weights into the model's active adapter, in place.

    Raises:
        RunError: the saved adapter has another type, lacks a weight or has one too many.
    """
    try:
        saved, own = PeftConfig.from_pretrained(str(folder)), model.peft_config["default"]
        if saved.peft_type != own.peft_type:
            raise RunError(
                f"{folder}: holds a {saved.peft_type} adapter, the run uses {own.peft_type}; check adapter and method"
            )
        weights = load_peft_weights(str(folder), device="cpu")
        result: Any = set_peft_model_state_dict(model, weights)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise RunError(
            f"{folder}: adapter cannot be loaded ({error}); remove the task's folder to train it again"
        ) from error
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    missing = sorted(trained.intersection(result.missing_keys))
    unexpected = list(result.unexpected_keys)
    if missing or unexpected:
        raise RunError(f"{folder}: adapter does not fit the model; missing {missing[:3]}, unexpected {unexpected[:3]}")
