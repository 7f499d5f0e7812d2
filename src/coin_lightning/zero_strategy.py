"""`ZeroStrategy`: DeepSpeed's ZeRO through Lightning, refused at once where it cannot be used."""

from importlib.util import find_spec
from typing import Any, Literal

from lightning.pytorch.strategies import DeepSpeedStrategy

from coin_lightning.errors import ConfigError


class ZeroStrategy(DeepSpeedStrategy):
    """Stage 2 divides gradients and optimizer state among the devices, stage 3 the weights too.

    Args:
        stage: 2 or 3.
        offload_optimizer: keep the optimizer state in the memory of the machine.
        options: further ones of Lightning's `DeepSpeedStrategy`.

    Raises:
        ConfigError: the deepspeed package is not installed.
    """

    def __init__(self, stage: Literal[2, 3] = 2, offload_optimizer: bool = False, **options: Any) -> None:
        if find_spec("deepspeed") is None:
            raise ConfigError(
                f"trainer=deepspeed_zero{stage}: the deepspeed package is not installed; pip install "
                "'coin-lightning[deepspeed]' (it is built for this machine's CUDA), or use trainer=fsdp, which needs "
                "no further package"
            )
        super().__init__(stage=stage, offload_optimizer=offload_optimizer, **options)
        assert isinstance(self.config, dict)
        # else DeepSpeed refuses to keep the state of any optimizer but its own Adam in the memory of the machine
        self.config.setdefault("zero_force_ds_cpu_optimizer", False)
