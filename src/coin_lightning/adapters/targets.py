"""Which layers an adapter goes into: those of the language model that its targets name, each of which must exist."""

import re
from collections.abc import Sequence
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import nn
from transformers.pytorch_utils import Conv1D

from coin_lightning.errors import ConfigError, did_you_mean

ALL = "all-linear"
KEY = "adapter.targets"


def put_adapter(model: nn.Module, language_model: nn.Module, config: PeftConfig) -> PeftModel:
    """Wrap `model` with an adapter in the layers of its language model, whatever its targets match elsewhere.

    Vision tower and head are frozen and never adapted; `all-linear` means every linear layer of the language model.

    Args:
        model: changed in place.
        language_model: a part of it.
        config: of any PEFT tuner; targets and exclusions are narrowed in place.

    Raises:
        ConfigError: a target matches nothing there, or PEFT cannot adapt what it matches.
    """
    scope = next(name for name, module in model.named_modules() if module is language_model)
    _narrow(config, model, f"{scope}.")
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        text = str(error).splitlines()[0]
        raise ConfigError(f"{KEY}={_shown(config)}: {text}; name linear layers of the language model") from error
    saved = tuple(getattr(config, "modules_to_save", None) or ())
    outside = [
        name for name, parameter in wrapped.named_parameters()
        if parameter.requires_grad and f".{scope}." not in name and not any(f".{part}." in name for part in saved)
    ]  # fmt: skip
    if outside:
        raise ConfigError(
            f"{KEY}={_shown(config)}: the {config.peft_type} adapter would train {outside[0]}, outside the language "
            "model, where nothing learns; choose another adapter or other targets"
        )
    return wrapped


def adapter_weights(model: nn.Module) -> list[nn.Parameter]:
    """What adapters have added to the layers of a model, whether it learns now or not."""
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    parts = [getattr(layer, name, None) for layer in layers for name in layer.adapter_layer_names]
    return [weight for part in parts if isinstance(part, nn.Module) for weight in part.parameters()]


def _narrow(config: Any, model: nn.Module, scope: str) -> None:
    targets = getattr(config, "target_modules", None)
    if targets is None:
        return  # the tuner's own defaults, or none at all
    names = outer_names(model)
    inside = {name: module for name, module in names.items() if name.startswith(scope)}
    if isinstance(targets, str) and targets.lower() == ALL:
        targets = sorted({name.rsplit(".", 1)[-1] for name, module in inside.items() if adaptable(module)})
        config.target_modules = targets if isinstance(config.target_modules, list) else set(targets)
    check_targets(targets, inside, KEY, f" of the language model ({scope}*)")
    if any(matches(targets, name) for name in names.keys() - inside.keys()):
        config.exclude_modules = _either(config.exclude_modules, rf"(?!{re.escape(scope)}).*")


def _either(excluded: str | Sequence[str] | None, pattern: str) -> str:
    """One regular expression for what was excluded already and what `pattern` matches."""
    if not excluded:
        return pattern
    if not isinstance(excluded, str):
        excluded = rf"(.*\.)?({'|'.join(map(re.escape, sorted(excluded)))})"
    return f"({excluded})|({pattern})"


def _shown(config: Any) -> str:
    targets = getattr(config, "target_modules", None)
    return repr(targets) if targets is None or isinstance(targets, str) else f"[{','.join(sorted(targets))}]"


def adaptable(module: nn.Module) -> bool:
    """Linear layers, quantised ones as PEFT recognises them, and layers that have an adapter already."""
    if isinstance(module, nn.Linear | Conv1D | BaseTunerLayer):
        return True
    backend = resolve_quantization_backend(module, get_apply_tensor_subclass=lambda: None)
    return backend is not None and backend.layer_type == "linear"


def outer_names(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by name, without what lies inside a tuner layer (its base layer and parameter dicts)."""
    inner = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, BaseTunerLayer))
    return {name: module for name, module in model.named_modules() if name and not name.startswith(inner)}


def matches(targets: str | Sequence[str], name: str) -> bool:
    """Whether a module name is meant, as PEFT reads targets: a regular expression, or names and ends of names."""
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def check_targets(targets: str | Sequence[str], names: dict[str, nn.Module], key: str, where: str = "") -> None:
    """Every target must match a module; PEFT itself would silently skip those that do not.

    Args:
        targets: as for `matches`, or `all-linear`.
        names: modules that may be meant.
        key: of the setting, for the message.
        where: these modules are, for the message.

    Raises:
        ConfigError: one does not; nearest names are given.
    """
    if not isinstance(targets, str):
        unknown = [target for target in sorted(targets) if not any(matches([target], name) for name in names)]
        if unknown or not targets:
            wrong = unknown[0] if unknown else ""
            raise ConfigError(f"{key}: no module{where} is named {wrong!r}. {_nearest(wrong, names)}")
        return
    try:
        found = targets.lower() == ALL or any(matches(targets, name) for name in names)
    except re.error as error:
        raise ConfigError(f"{key}={targets!r}: is no regular expression ({error})") from error
    if not found:
        hint = f"A name by itself is a list: {key}=[{targets}]. " if any(matches([targets], n) for n in names) else ""
        raise ConfigError(
            f"{key}={targets!r}: no module name{where} matches this pattern. {hint}{_nearest(targets, names)}"
        )


def _nearest(wrong: str, names: dict[str, nn.Module]) -> str:
    linear = [name for name, module in names.items() if adaptable(module)]
    leaves = sorted({name.rsplit(".", 1)[-1] for name in linear})
    return did_you_mean(wrong, [*leaves, *linear]) or f"Linear layers here are: {', '.join(leaves[:20])}."
