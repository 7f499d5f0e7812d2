"""The MoELoRA tuner: which modules of a model get a branch, and what PEFT may do with them."""

import re
from difflib import get_close_matches

from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, _maybe_include_all_linear_layers
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from peft.utils.quantization_utils import get_quantization_kwargs, resolve_quantization_backend
from torch import nn
from transformers.pytorch_utils import Conv1D

from coin_lightning.adapters.moelora.config import MoELoraConfig
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.errors import ConfigError


def _adaptable(module: nn.Module) -> bool:
    """Linear layers, quantised ones as PEFT recognises them, and layers that have an adapter already."""
    if isinstance(module, nn.Linear | Conv1D | MoELoraLinear):
        return True
    backend = resolve_quantization_backend(module, get_apply_tensor_subclass=lambda: None)
    return backend is not None and backend.layer_type == "linear"


def _outer_names(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by name, without what lies inside a tuner layer (its base layer and parameter dicts)."""
    inner = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, BaseTunerLayer))
    return {name: module for name, module in model.named_modules() if name and not name.startswith(inner)}


def _check_targets(config: MoELoraConfig, model: nn.Module) -> None:
    """Every name must match; PEFT itself would silently skip those that do not."""
    targets = config.target_modules
    names = _outer_names(model)
    if isinstance(targets, str):
        if targets.lower() != "all-linear" and not any(re.fullmatch(targets, name) for name in names):
            raise ConfigError(
                f"target_modules={targets!r}: no module name matches this pattern. {_nearest(targets, names)}"
            )
        return
    unknown = [t for t in targets or [] if not any(n == t or n.endswith(f".{t}") for n in names)]
    if unknown:
        raise ConfigError(f"target_modules: no module is named {unknown[0]!r}. {_nearest(unknown[0], names)}")


def _nearest(wrong: str, names: dict[str, nn.Module]) -> str:
    linear = [name for name, module in names.items() if _adaptable(module)]
    candidates = sorted({name.rsplit(".", 1)[-1] for name in linear} | set(linear))
    near = get_close_matches(wrong, candidates, n=3, cutoff=0.5)
    if near:
        return f"Nearest: {', '.join(near)}."
    leaves = sorted({name.rsplit(".", 1)[-1] for name in linear})
    return f"Linear layers here are: {', '.join(leaves[:20])}."


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
        _check_targets(peft_config, model)
        _maybe_include_all_linear_layers(peft_config, model)
        if isinstance(peft_config.target_modules, set):
            peft_config.target_modules = sorted(peft_config.target_modules)
        names = _outer_names(model)
        wrong = [n for n in names if self._check_target_module_exists(peft_config, n) and not _adaptable(names[n])]
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
            if getattr(self.peft_config[name], "fixed_weights", None) is None:
                raise ConfigError(
                    f"adapter {name!r} cannot be merged: its gate depends on the input, so no single weight matrix "
                    "equals it. Use unload() for the bare base model, keep the adapter at inference, use "
                    'mixing="given" with fixed_weights, or merge_slots(model, weights) for one fixed mixture.'
                )
