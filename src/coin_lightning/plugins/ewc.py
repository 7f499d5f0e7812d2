"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017; arXiv 1612.00796)."""

import random
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from coin_lightning.errors import ConfigError
from coin_lightning.methods.base import Context, Method
from coin_lightning.methods.step import StepOutput


class EWC(Method):
    """Adds lambda / 2 * sum over tasks k and weights i of F_ki (w_i - w*_ki)^2 (equation 3).

    F_ki is the diagonal of the empirical Fisher information: the mean over samples of the squared gradient of the log
    likelihood of the sample's answer, with the weights w*_k after task k, without dropout. The sum over tasks is kept
    as one quadratic, which equals it: F = sum F_k, anchor = sum F_k w*_k / F, and a constant.

    Args:
        weight: lambda.
        fisher_samples: so many of a task's samples, drawn by the run's seed; null: all.
        name: shown in reports.
    """

    constant: Tensor

    def __init__(
        self, weight: NonNegativeFloat = 5000.0, fisher_samples: PositiveInt | None = 200, name: str = "ewc"
    ) -> None:
        super().__init__(name)
        self.weight, self.fisher_samples = weight, fisher_samples
        self.fisher, self.anchor = Tensors(), Tensors()
        self.register_buffer("constant", torch.zeros(()))
        self._watched: tuple[Mapping[str, nn.Parameter], ...] = ()

    def restore(self, model: Any, position: int) -> None:
        """Importances of every learned weight, as zeros, behind the first task.

        Raises:
            ConfigError: nothing learns that it could hold.
        """
        self._watched = (_weights(model),)
        if not self._watched[0]:
            raise ConfigError(
                f"plugin.ewc holds weights of adapter and projector, and with method={model.method.name} and "
                f"protocol.projector={model.projector} none of them learns; leave it out"
            )
        if position > 0:
            for name, weight in self._watched[0].items():
                self.fisher.hold(name, torch.zeros_like(weight, dtype=torch.float32))
                self.anchor.hold(name, torch.zeros_like(weight, dtype=torch.float32))

    def before_experience(self, context: Context) -> None:
        """Numbers that the method has put behind the earlier ones for this task have no importance yet."""
        self._watched = (_weights(context.module),)
        for kept in (self.fisher, self.anchor) if len(self.fisher) else ():
            for name, weight in self._watched[0].items():
                kept.hold(name, _extended(kept[name], weight.shape))

    def loss(self, step: StepOutput, batch: dict[str, Any]) -> Tensor | None:
        """The penalty; nothing in the first task."""
        (weights,) = self._watched
        if self.weight == 0 or not len(self.fisher):
            return None
        distances = {name: (weight.float() - self.anchor[name]).square() for name, weight in weights.items()}
        parts = [(self.fisher[name] * distance).sum() for name, distance in distances.items()]
        return self.weight / 2 * (torch.stack(parts).sum() + self.constant)

    def after_experience(self, context: Context) -> None:
        """A pass over samples of the task."""
        new = fisher_information(context, self.fisher_samples)
        if not len(self.fisher):
            self.restore(context.module, context.position)
        constant = self.constant.double()
        for name, weight in self._watched[0].items():
            now, old, anchor = new[name], self.fisher[name].double(), self.anchor[name].double()
            point = weight.detach().double()
            total = old + now
            centre = torch.where(total > 0, (old * anchor + now * point) / total.clamp(min=1e-300), anchor)
            constant = constant + (old * (anchor - centre).square() + now * (point - centre).square()).sum()
            self.fisher.hold(name, total.float())
            self.anchor.hold(name, centre.float())
        self.constant.copy_(constant)


def fisher_information(context: Context, count: int | None) -> dict[str, Tensor]:
    """Mean over samples of the squared gradient of the sample's summed token losses, by weight, in float64."""
    weights = _weights(context.module)
    totals = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}
    chosen = context.samples()
    if count is not None and count < len(chosen):
        rng = random.Random(f"{context.seed}/{context.task}/ewc")  # files may be sorted by image or class
        chosen = chosen.select(sorted(rng.sample(range(len(chosen)), count)))
    with context.evaluating():
        for batch in context.batches(chosen, batch_size=1):
            losses = context.forward(batch).losses
            gradients = torch.autograd.grad(losses.sum(), list(weights.values()), allow_unused=True)
            for name, gradient in zip(weights, gradients, strict=True):
                if gradient is not None and batch["samples"]:
                    totals[name] += gradient.double().square()
    return {name: context.all_reduce(total) / len(chosen) for name, total in totals.items()}


def _weights(module: Any) -> dict[str, nn.Parameter]:
    """What the tasks change: the trained parts of the model, not those of methods, and not a projector that each task
    begins anew."""
    parts: dict[str, nn.Parameter] = module.weights_of("adapter")
    return parts if module.projector == "reinitialised" else parts | module.weights_of("projector")


def _extended(tensor: Tensor, shape: torch.Size) -> Tensor:
    """With zeros behind it, where the shape is larger."""
    if tensor.shape == shape:
        return tensor
    whole = tensor.new_zeros(shape)
    whole[tuple(slice(size) for size in tensor.shape)] = tensor
    return whole


class Tensors(nn.Module):
    """Buffers under the names of parameters, which have dots."""

    def __len__(self) -> int:
        return len(self._buffers)

    def __getitem__(self, name: str) -> Tensor:
        found = self._buffers[name.replace(".", "/")]
        assert found is not None
        return found

    def hold(self, name: str, tensor: Tensor) -> None:
        """Keep a tensor in place of the one of that name."""
        self.register_buffer(name.replace(".", "/"), tensor)
