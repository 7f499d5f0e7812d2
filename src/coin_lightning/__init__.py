"""Continual instruction tuning of multimodal LLMs: CoIN and MoELoRA on PyTorch Lightning, composed with Hydra.

Importing the package registers its adapters with PEFT, so that `PeftModel.from_pretrained` reads them.
"""

from coin_lightning import adapters

__all__ = ["adapters"]
