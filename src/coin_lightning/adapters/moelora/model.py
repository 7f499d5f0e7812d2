"""The MoELoRA tuner: which modules of a model get a branch, and what PEFT may do with them."""

from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, _maybe_include_all_linear_layers
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from peft.utils.quantization_utils import get_quantization_kwargs
from torch import nn

from coin_lightning.adapters.moelora.config import MoELoraConfig
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.adapters.targets import adaptable, check_targets, outer_names
from coin_lightning.errors import ConfigError


class MoELoraModel(BaseTuner):
    """Puts `MoELoraLinear` layers into a model. Made by `peft.get_peft_model(model, MoELoraConfig(...))`.

    Raises:
        ConfigError: a target name is unknown (nearest ones are named) or not linear; a merge that cannot be exact.
    """

    prefix: str = "moelora_"
    tuner_layer_cls = MoELoraLinear
    target_module_mapping = {k: list(v) for k, v in TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.items()}  # noqa: RUF012

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        """PEFT calls this for every adapter before it changes anything."""
        assert isinstance(peft_config, MoELoraConfig)
        names = outer_names(model)
        if peft_config.target_modules is not None:
            check_targets(peft_config.target_modules, names, "target_modules")
        _maybe_include_all_linear_layers(peft_config, model)
        if isinstance(peft_config.target_modules, set):
            peft_config.target_modules = sorted(peft_config.target_modules)
        wrong = [n for n in names if self._check_target_module_exists(peft_config, n) and not adaptable(names[n])]
        if wrong:
            kind = type(names[wrong[0]]).__name__
            raise ConfigError(
                f"target_modules: {wrong[0]!r} is a {kind}, MoELoRA adapts linear layers only. "
                "Name the linear layers, or train the module in full with modules_to_save."
            )

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        assert isinstance(peft_config, MoELoraConfig)
        if isinstance(target, MoELoraLinear):
            target.update_layer(adapter_name, peft_config)
            return
        layer = MoELoraLinear(target, adapter_name, peft_config, **get_quantization_kwargs(self))
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _check_merge_allowed(self) -> None:
        """Refuse before any weight is touched: a gate that depends on the token has no single merged weight."""
        super()._check_merge_allowed()
        for name in self.active_adapters:
            config = self.peft_config[name]
            assert isinstance(config, MoELoraConfig)
            if not config.is_fixed:
                raise ConfigError(
                    f"adapter {name!r} cannot be merged: its gate depends on the input, so no single weight matrix "
                    "equals it. Use unload() for the bare base model, keep the adapter at inference, use "
                    'mixing="given" with fixed_weights, or merge_slots(model, weights) for one fixed mixture.'
                )
