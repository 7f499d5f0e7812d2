"""L2P: a pool of prompts, of which each sample takes those whose keys are nearest to it.

Wang et al., "Learning to Prompt for Continual Learning", CVPR 2022 (arXiv 2112.08654).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftConfig
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from coin_lightning.errors import ConfigError
from coin_lightning.methods.base import Context, Method
from coin_lightning.methods.step import Inputs, StepOutput


class L2P(Method):
    """The `top` prompts of a sample go before its embeddings, in training and in answering; their keys are pulled
    towards it: - `pull` * sum of the cosine similarities is added to the loss (equation 5), as a mean over samples.

    Query of a sample is its frozen image feature beside its frozen text feature (`ContinualMLLM.frozen_features`), for
    the class token of the paper's image model. Prompts and keys learn, and the projector where the protocol says so;
    the model's own layers do not: the LoRA that every run has is of rank 1 and stays at zero.

    Args:
        pool: prompts; 10 in the paper.
        length: tokens of a prompt; 5 in the paper.
        top: prompts per sample; 5 in the paper.
        pull: lambda; 0.5 in the paper.
        std: of the first values of prompts and keys.
        name: shown in reports.

    Raises:
        ConfigError: a sample cannot take more prompts than there are.
    """

    prompts: nn.Parameter
    keys: nn.Parameter

    def __init__(
        self,
        pool: PositiveInt = 10,
        length: PositiveInt = 5,
        top: PositiveInt = 5,
        pull: PositiveFloat = 0.5,
        std: PositiveFloat = 0.02,
        name: str = "l2p",
    ) -> None:
        super().__init__(name)
        if top > pool:
            raise ConfigError(f"method.top={top} is more than method.pool={pool}; lower it")
        self.pool, self.length, self.top, self.pull, self.std = pool, length, top, pull, std
        self._model: tuple[Any, ...] = ()
        self._begun = False

    def adapter(self, config: PeftConfig, tasks: Sequence[str]) -> PeftConfig:
        """As small as it can be.

        Raises:
            ConfigError: the adapter is no LoRA.
        """
        if not isinstance(config, LoraConfig):
            raise ConfigError("method=l2p trains prompts only; use adapter=lora, which stays at zero")
        config.r = 1
        return config

    def restore(self, model: Any, position: int) -> None:
        """The same at every position: prompts and keys, and an adapter that does not learn."""
        self._model, self._begun = (model,), position > 0
        if hasattr(self, "prompts"):
            return
        width = model.backbone.model.get_input_embeddings().embedding_dim
        query = model.backbone.family.width + width
        for name, shape in {"prompts": (self.pool, self.length, width), "keys": (self.pool, query)}.items():
            self.register_parameter(name, nn.Parameter(self.std * torch.randn(shape, device=model.device)))
        for name, parameter in model.named_parameters():
            if name.startswith("backbone.") and "lora" in name:
                parameter.requires_grad_(False)

    def before_experience(self, context: Context) -> None:
        """From now on there are prompts."""
        self._begun = True

    def inputs(self, inputs: Inputs, batch: dict[str, Any]) -> Inputs:
        """With the sample's prompts before all else, the nearest first; before any training, whose answers are those of
        the model itself, without."""
        if not self._begun:
            return inputs
        chosen = self._similarity(batch).topk(self.top, dim=1).indices
        return inputs.prepend(self.prompts[chosen].flatten(1, 2))

    def loss(self, step: StepOutput, batch: dict[str, Any]) -> Tensor | None:
        """The pull on the keys."""
        return -self.pull * self._similarity(batch).topk(self.top, dim=1).values.sum(dim=1).mean()

    def _similarity(self, batch: dict[str, Any]) -> Tensor:
        """Cosine of each sample and key, `[b, pool]`, in float32."""
        (model,) = self._model
        query = F.normalize(torch.cat(model.frozen_features(batch), dim=1), dim=1)
        with torch.autocast(query.device.type, enabled=False):
            return query @ F.normalize(self.keys.float(), dim=1).t()
