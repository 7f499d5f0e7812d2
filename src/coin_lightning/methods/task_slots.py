"""A LoRA pair for each task, as the slots of one bank that grows: what several methods begin with."""

from typing import Any

from peft import LoraConfig, PeftConfig, PeftType

from coin_lightning.adapters.moelora import MoELoraConfig, add_slots, drop_slots, moelora_layers, set_trainable_slots
from coin_lightning.errors import ConfigError

COPIED = (
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform",
    "layers_pattern", "task_type", "peft_type",
)  # fmt: skip
"""Options of a LoRA that a bank of slots has, too."""


def bank_of_one(method: str, config: PeftConfig) -> MoELoraConfig:
    """A bank without a router, with one slot of the configured LoRA's rank and scale, of weight 1.

    Args:
        method: for the message.
        config: of the adapter.

    Raises:
        ConfigError: the adapter is no LoRA, or one with an option that a bank does not have.
    """
    if not isinstance(config, LoraConfig):
        kind = PeftType(config.peft_type).value
        raise ConfigError(f"method={method} keeps a LoRA pair per task, not {kind}; use adapter=lora")
    plain = LoraConfig()
    if unknown := [key for key, value in vars(config).items() if key not in COPIED and value != vars(plain).get(key)]:
        raise ConfigError(
            f"method={method} keeps plain LoRA pairs, without adapter.{unknown[0]}={vars(config)[unknown[0]]!r}; leave "
            "it out"
        )
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

    Raises:
        ConfigError: the optimizer's weight decay would change the slots that must stay, rows of the same tensor.
    """
    if decay := model.optimizer_default("weight_decay"):
        raise ConfigError(f"optimizer.weight_decay={decay:g} shrinks the pairs of earlier tasks; set it to 0")
    config = next(iter(moelora_layers(model.peft).values())).moelora_config["default"]
    if count > config.num_experts:
        add_slots(model.peft, [config.slot_ranks[0]] * (count - config.num_experts), weight=1.0)
    elif count < config.num_experts:
        drop_slots(model.peft, range(count, config.num_experts))
    set_trainable_slots(model.peft, [count - 1])
