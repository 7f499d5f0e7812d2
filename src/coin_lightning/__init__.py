"""Continual instruction tuning of multimodal LLMs: CoIN and MoELoRA on PyTorch Lightning, composed with Hydra.

Importing the package alone imports nothing else, so that the command line answers at once. Its types become known to
PEFT with `import coin_lightning.adapters`, which every module that makes or loads adapters does.
"""
