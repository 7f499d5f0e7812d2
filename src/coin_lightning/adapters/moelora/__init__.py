"""MoELoRA as a PEFT tuner. Importing this package registers the PEFT type ``MOELORA``.

After that ``get_peft_model(model, MoELoraConfig(...))``, ``save_pretrained`` and ``PeftModel.from_pretrained`` work as
for PEFT's own tuners. `layer.MoELoraLinear` holds the formula, `function.MoEBranch` its forward and backward, `routing`
what travels beside a forward pass (weights given per sample, router statistics), `slots` the experts as a slot bank.
"""

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import PeftType, register_peft_method

from coin_lightning.adapters.moelora.config import PEFT_TYPE, MoELoraConfig
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.adapters.moelora.model import MoELoraModel
from coin_lightning.adapters.moelora.routing import RouterLoad, router_load, slot_weights
from coin_lightning.adapters.moelora.slots import (
    merge_slots,
    moelora_layers,
    set_active_slots,
    set_trainable_slots,
    unmerge_slots,
)

__all__ = [
    "MoELoraConfig",
    "MoELoraLinear",
    "MoELoraModel",
    "RouterLoad",
    "merge_slots",
    "moelora_layers",
    "router_load",
    "set_active_slots",
    "set_trainable_slots",
    "slot_weights",
    "unmerge_slots",
]

if PeftType(PEFT_TYPE) not in PEFT_TYPE_TO_TUNER_MAPPING:
    register_peft_method(name="moelora", config_cls=MoELoraConfig, model_cls=MoELoraModel, prefix="moelora_")
