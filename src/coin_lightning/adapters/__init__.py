"""Trainable layers put into a backbone, as PEFT tuners. Importing this package registers them."""

from coin_lightning.adapters.moelora import MoELoraConfig, MoELoraModel

__all__ = ["MoELoraConfig", "MoELoraModel"]
