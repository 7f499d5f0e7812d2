"""MoELoRA as a PEFT tuner. Importing this package registers the PEFT type ``MOELORA``.

After that ``get_peft_model(model, MoELoraConfig(...))``, ``save_pretrained`` and ``PeftModel.from_pretrained`` work as
for PEFT's own tuners. `layer.MoELoraLinear` holds the formula, `function.MoEBranch` its forward and backward, `flags`
the states of slots as tensors, `slots` what changes them. What travels beside a forward pass is in `adapters.routing`.
"""

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import PeftType, register_peft_method

from coin_lightning.adapters.moelora.config import PEFT_TYPE, MoELoraConfig
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.adapters.moelora.model import MoELoraModel
from coin_lightning.adapters.moelora.slots import (
    add_slots,
    drop_slots,
    merge_slots,
    moelora_layers,
    set_active_slots,
    set_fixed_weights,
    set_trainable_slots,
    unmerge_slots,
)

__all__ = [
    "MoELoraConfig",
    "MoELoraLinear",
    "MoELoraModel",
    "add_slots",
    "drop_slots",
    "merge_slots",
    "moelora_layers",
    "set_active_slots",
    "set_fixed_weights",
    "set_trainable_slots",
    "unmerge_slots",
]

if PeftType(PEFT_TYPE) not in PEFT_TYPE_TO_TUNER_MAPPING:
    register_peft_method(name="moelora", config_cls=MoELoraConfig, model_cls=MoELoraModel, prefix="moelora_")
