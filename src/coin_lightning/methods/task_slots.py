"""A LoRA pair for each task, as the slots of one bank: what several methods begin with."""

from collections.abc import Sequence

from peft import LoraConfig, PeftConfig, PeftType

from coin_lightning.adapters.moelora import MoELoraConfig
from coin_lightning.errors import ConfigError


def slot_per_task(method: str, config: PeftConfig, tasks: Sequence[str]) -> MoELoraConfig:
    """A bank without a router, every slot of the rank and scale of the configured LoRA and of weight 1.

    Args:
        method: for the message.
        config: of the adapter.
        tasks: that will be learned, in order; none: one slot.

    Raises:
        ConfigError: the adapter is no LoRA.
    """
    if not isinstance(config, LoraConfig):
        kind = PeftType(config.peft_type).value
        raise ConfigError(f"method={method} keeps a LoRA pair per task, not {kind}; use adapter=lora")
    slots = max(len(tasks), 1)
    return MoELoraConfig(
        r=config.r * slots,
        alpha=config.lora_alpha * slots,  # alpha / r is one pair's
        num_experts=slots,
        dropout=config.lora_dropout,
        target_modules=config.target_modules,
        exclude_modules=config.exclude_modules,
        modules_to_save=config.modules_to_save,
        layers_to_transform=config.layers_to_transform,
        layers_pattern=config.layers_pattern,
        task_type=config.task_type,
        mixing="given",
        fixed_weights=[1.0] * slots,
    )
