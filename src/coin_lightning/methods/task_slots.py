"""A LoRA pair for each task, as the slots of one bank that grows: what several methods begin with."""

from typing import Any

from peft import LoraConfig, PeftConfig, PeftType

from coin_lightning.adapters.moelora import MoELoraConfig, add_slots, drop_slots, moelora_layers, set_trainable_slots
from coin_lightning.errors import ConfigError


def bank_of_one(method: str, config: PeftConfig) -> MoELoraConfig:
    """A bank without a router, with one slot of the configured LoRA's rank and scale, of weight 1.

    Args:
        method: for the message.
        config: of the adapter.

    Raises:
        ConfigError: the adapter is no LoRA.
    """
    if not isinstance(config, LoraConfig):
        kind = PeftType(config.peft_type).value
        raise ConfigError(f"method={method} keeps a LoRA pair per task, not {kind}; use adapter=lora")
    return MoELoraConfig(
        r=config.r,
        alpha=config.lora_alpha,
        num_experts=1,
        dropout=config.lora_dropout,
        target_modules=config.target_modules,
        exclude_modules=config.exclude_modules,
        modules_to_save=config.modules_to_save,
        layers_to_transform=config.layers_to_transform,
        layers_pattern=config.layers_pattern,
        task_type=config.task_type,
        mixing="given",
        fixed_weights=[1.0],
    )


def hold_slots(model: Any, count: int) -> None:
    """Bring the bank to `count` slots: new ones like the first, or without the last. Only the last one learns.

    Args:
        model: the `ContinualMLLM`.
        count: from 1.
    """
    config = next(iter(moelora_layers(model.peft).values())).moelora_config["default"]
    if count > config.num_experts:
        add_slots(model.peft, [config.slot_ranks[0]] * (count - config.num_experts), weight=1.0)
    elif count < config.num_experts:
        drop_slots(model.peft, range(count, config.num_experts))
    set_trainable_slots(model.peft, [count - 1])
