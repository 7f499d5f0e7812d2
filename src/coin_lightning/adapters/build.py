"""Adapter settings by the names that experiments sweep: `rank`, `alpha`, `num_experts`; and adapter weights on disk."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from peft import LoraConfig, PeftConfig, PeftModel, PeftType
from peft.utils import (
    CONFIG_NAME,
    SAFETENSORS_WEIGHTS_NAME,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from coin_lightning.adapters.moelora import MoELoraConfig
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.json_files import BROKEN
from coin_lightning.sharding import all_like, in_pieces, whole
from coin_lightning.weight_files import read_safetensors, share
from coin_lightning.whole_files import write_text

Share = Annotated[float, Field(ge=0, lt=1)]
_LINEARS = "q_proj|k_proj|v_proj|qkv_proj|o_proj|gate_proj|up_proj|down_proj"
LANGUAGE_MODEL_LINEARS = rf".*(language_model|text_model).*\.({_LINEARS})"
"""CoIN adapts every linear layer of the language model but the head (`coin_reference.md` section 1.3)."""


BASE = "the model that config.yaml of the run names under backbone"
CARD = """---
library_name: peft
---
# {kind} adapter

Made by coin_lightning: the weights that a run has learned, in PEFT's format. The base model is not in this folder and
stays as it is. Run these lines here, or give the path of this folder instead of `"."`:

```python
import coin_lightning.backbones.loading  # before loading: PEFT and transformers then know this project's types
{own}from peft import PeftModel
from transformers import AutoModelForImageTextToText

model = AutoModelForImageTextToText.from_pretrained({base})
model = PeftModel.from_pretrained(model, ".")
```
{limits}"""
"""What a saved adapter's `README.md` says; without the import PEFT ends with `KeyError: 'MOELORA'`."""
NOT_ALL = """
**This is not the model that the run was judged by.** Its method also chooses something for each sample ({hooks}), which
PEFT does not do: what these lines load answers otherwise. Answers of the run's own model come from
`python -m coin_lightning evaluate RUN`.
"""
"""Behind it, for methods that do more than to learn these weights."""


def moelora(
    rank: PositiveInt = 128,
    alpha: PositiveFloat = 256,
    num_experts: PositiveInt = 8,
    dropout: Share = 0.05,
    targets: str | Sequence[str] = LANGUAGE_MODEL_LINEARS,
    **options: Any,
) -> MoELoraConfig:
    """MoELoRA of total rank `rank` over `num_experts` experts; further options as in `MoELoraConfig`.

    Raises:
        ConfigError: `modules_to_save` is among them.
    """
    _refuse_modules(options)
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
    """PEFT's LoRA, scaled by `alpha / rank`; further options as in `peft.LoraConfig`.

    Raises:
        ConfigError: `modules_to_save` is among them.
    """
    _refuse_modules(options)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT says int and takes any number
        lora_dropout=dropout,
        target_modules=_targets(targets),
        task_type="CAUSAL_LM",
        **options,
    )


def _refuse_modules(options: Mapping[str, Any]) -> None:
    if options.get("modules_to_save"):
        raise ConfigError(
            f"adapter.modules_to_save={options['modules_to_save']}: beside the adapter the projector learns, as "
            "protocol.projector says, and nothing else; leave it out"
        )


def _targets(targets: str | Sequence[str]) -> str | list[str]:
    return targets if isinstance(targets, str) else list(targets)


def gathered(model: PeftModel) -> dict[str, Tensor]:
    """Those of the trained weights that lie in pieces over several processes, whole. All processes must ask."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: whole(weight) for name, weight in weights.items() if in_pieces(weight)}


def save_adapter(
    model: PeftModel, folder: Path, pieces: Mapping[str, Tensor] | None = None, hooks: Sequence[str] = ()
) -> int:
    """Write the adapters in PEFT's format (safetensors and JSON) and return their size in bytes.

    The one named `default` goes into the folder itself, any other into a folder of its name below. `README.md` says how
    they are loaded, in place of PEFT's card.

    Args:
        model: with the adapters.
        folder: made when missing.
        pieces: from `gathered`; default: none lies in pieces.
        hooks: of the method, without which the model answers otherwise; the card warns of them.
    """
    for config in model.peft_config.values():
        _in_order(config)
    state = {**model.state_dict(), **(pieces or {})}
    with _without_card(model):
        model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=state)
    config = model.peft_config["default"]
    kind, base = PeftType(config.peft_type).value, config.base_model_name_or_path
    module = type(model.get_base_model()).__module__
    own = f"import {module}\n" if module.startswith("coin_lightning.") else ""
    limits = NOT_ALL.format(hooks=", ".join(hooks)) if hooks else ""
    write_text(folder / "README.md", CARD.format(kind=kind, base=repr(base or BASE), own=own, limits=limits))
    share(*folder.rglob("*.safetensors"))
    return sum(file.stat().st_size for file in folder.rglob("*") if file.suffix in (".safetensors", ".json"))


@contextmanager
def _without_card(model: PeftModel) -> Iterator[None]:
    """PEFT writes no card within it: it would compile a template for each, as long as saving a small adapter takes."""
    vars(model)["create_or_update_model_card"] = lambda output_dir: None
    try:
        yield
    finally:
        del vars(model)["create_or_update_model_card"]


def _in_order(config: PeftConfig) -> None:
    """PEFT turns lists of names into sets, and the order of a set differs from one process to the next."""
    for field, value in vars(config).items():
        if isinstance(value, set):
            setattr(config, field, sorted(value))


def load_adapter(model: PeftModel, folder: Path) -> None:
    """Put saved weights into the model's adapters, in place.

    Args:
        model: with adapters of the same names and settings.
        folder: `adapter` in the folder of a task.

    Raises:
        RunError: a file is missing or damaged, or an adapter has another type, lacks a weight or has one too many.
    """
    for name in model.peft_config:
        _load_one(model, name, folder if name == "default" else folder / name, train_again(folder.parent))


def _load_one(model: PeftModel, name: str, folder: Path, remedy: str) -> None:
    saved, own = _saved_type(folder / CONFIG_NAME, remedy), PeftType(model.peft_config[name].peft_type).value
    if saved != own:
        raise RunError(f"{folder}: holds a {saved} adapter, the run uses {own}; check adapter and method")
    file = folder / SAFETENSORS_WEIGHTS_NAME
    weights = read_safetensors(file, "adapter", remedy, RunError)
    expected = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    missing, unexpected = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unexpected:
        raise RunError(
            f"{file}: adapter does not fit the model; missing {missing[:3]}, unexpected {unexpected[:3]}; {remedy}"
        )
    try:
        set_peft_model_state_dict(model, all_like(weights, expected), adapter_name=name)
    except RuntimeError as error:
        raise RunError(f"{file}: adapter cannot be loaded ({error}); {remedy}") from error


def read_state(file: Path) -> dict[str, Tensor]:
    """The state of a method that a task left, by name, on the CPU.

    Args:
        file: `method_state.safetensors` in the folder of the task.

    Raises:
        RunError: it is missing or damaged.
    """
    return read_safetensors(file, "state of the method", train_again(file.parent), RunError)


def _saved_type(file: Path, remedy: str) -> str:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["peft_type"])
    except (OSError, *BROKEN, KeyError, TypeError) as error:
        raise RunError(f"{file}: adapter cannot be read ({type(error).__name__}: {error}); {remedy}") from error


def train_again(task: Path) -> str:
    """The remedy for a file of a task; what came later was learned on top of it."""
    return f"remove the folder {task} and those of later tasks and give the same command again: it trains them again"
