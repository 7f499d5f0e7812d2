"""What the strategy of a trainer cannot do together with the rest of a config: said before anything is loaded."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from coin_lightning.cli.build import build_methods
from coin_lightning.continual.run_dir import SHORT
from coin_lightning.errors import ConfigError
from coin_lightning.methods.base import Method, overriding
from coin_lightning.sharded_strategy import ShardedStrategy, in_step
from coin_lightning.zero_strategy import ZeroStrategy

CONVERTING = ("16-true", "bf16-true")
"""Names of precisions in which Lightning makes all weights half as wide."""
READS_NO_WEIGHTS = ("adapter", "samples", "inputs", "slot_weights")
"""Hooks that have nothing to do with the adapter's weights, which may lie in pieces."""


def check_strategy(config: DictConfig, strategy: Any) -> None:
    """Refuse what could only fail later, or would go wrong silently.

    Raises:
        ConfigError: a precision in which what learns is not float32, a quantised or a float16 model in pieces, a method
            that reads weights in pieces, or a task that DeepSpeed would have to keep in its middle.
    """
    _check_precision(str(config.trainer.get("precision")), strategy)
    if in_step(strategy):
        _check_backbone(config.backbone)
    if isinstance(strategy, ShardedStrategy) and strategy.trainable == "sharded":
        if strategy.offload:
            raise ConfigError(
                "trainer.strategy.offload=true keeps frozen pieces in the memory of the machine, what learns on "
                "the devices; use trainer.strategy.trainable=whole"
            )
        _check_hooks(config, "trainer.strategy.trainable=sharded", "use trainer.strategy.trainable=whole")
    if isinstance(strategy, ZeroStrategy):
        _check_hooks(
            config, f"trainer=deepspeed_zero{config.trainer.strategy.stage}", "use trainer=fsdp or trainer=ddp"
        )
        if "checkpoint" in config.callbacks:
            raise ConfigError(
                f"trainer=deepspeed_zero{config.trainer.strategy.stage}: DeepSpeed would keep a task in its middle as "
                "pickles of its own; add ~callbacks.checkpoint (a killed task is then learned from its beginning), or "
                "use trainer=fsdp"
            )


def _check_precision(precision: str, strategy: Any) -> None:
    """What learns is float32 in every task: steps of a usual rate are lost in narrower numbers."""
    name = SHORT.get(precision, precision)
    if name in CONVERTING:
        mixed = precision.replace("true", "mixed")
        raise ConfigError(
            f"trainer.precision={precision} makes all that learns as narrow as the frozen model; use trainer.precision="
            f"{mixed}: backbone.dtype decides how the frozen model is kept"
        )
    if name == "64-true":
        raise ConfigError(
            f"trainer.precision={precision}: adapters are kept in float32 from task to task, so that a run that was "
            "stopped would go on from other bits; use trainer.precision=32-true"
        )
    if isinstance(strategy, ZeroStrategy) and name != "32-true":
        raise ConfigError(
            f"trainer.precision={precision}: DeepSpeed makes all weights as narrow, also those that learn, and no task "
            "hands them on in float32; use trainer.precision=32-true, or trainer=fsdp"
        )


def check_device(config: DictConfig, device: str) -> None:
    """Refuse float16 where there is none: Lightning would compute in bfloat16, and results would say float16.

    Args:
        config: of the run.
        device: type of the device that it learns on.

    Raises:
        ConfigError: it is a CPU.
    """
    for key in ("trainer.precision", "backbone.dtype"):
        value = str(OmegaConf.select(config, key))
        if device == "cpu" and SHORT.get(value, value) in ("16-mixed", "float16"):
            raise ConfigError(
                f"{key}={value}: a CPU does not learn in float16; use trainer.precision=bf16-mixed with "
                "backbone.dtype=bfloat16, or trainer.precision=32-true with backbone.dtype=float32"
            )


def check_accumulation(config: DictConfig, task: str, batches: int) -> int:
    """Batches per optimizer step, as they are.

    Raises:
        ConfigError: DeepSpeed steps with every batch, as Lightning counts.
    """
    strategy = config.trainer.get("strategy")
    target = strategy.get("_target_", "") if isinstance(strategy, DictConfig) else ""
    if batches > 1 and target.endswith(f".{ZeroStrategy.__name__}"):
        raise ConfigError(
            f"trainer.strategy: {task} has {batches} batches per optimizer step, and with DeepSpeed there must be one; "
            "raise batches.size, or use trainer=fsdp"
        )
    return batches


def _check_backbone(backbone: DictConfig) -> None:
    if kind := backbone.get("quantization"):
        raise ConfigError(
            f"backbone.quantization={kind}: quantised weights cannot be laid out over several devices; use trainer=ddp "
            "or backbone.quantization=null"
        )
    if backbone.get("dtype") == "float16":
        raise ConfigError("backbone.dtype=float16 cannot be laid out over several devices; use bfloat16 or float32")


def _check_hooks(config: DictConfig, key: str, remedy: str) -> None:
    method, plugins = build_methods(config)
    for each in (method, *plugins.values()):
        for hook in Method.hooks:
            if hook not in READS_NO_WEIGHTS and overriding([each], hook):
                raise ConfigError(f"{key}: {each.name} works on whole weights (its hook {hook}); {remedy}")
