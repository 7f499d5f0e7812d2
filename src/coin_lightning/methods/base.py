"""`Method`: what a continual-learning algorithm may do, and when. The base class: plain sequential tuning."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

HOOKS = (
    "prepare_data",
    "before_experience",
    "batch_context",
    "transform_inputs",
    "extra_loss",
    "before_step",
    "after_step",
    "after_experience",
    "route",
    "state_dict",
    "load_state_dict",
)
"""In the order in which they are called."""


class Method:
    """Sequential fine-tuning: each task simply goes on with the weights of the one before.

    A method overrides some of the hooks below. Its state is float32 tensors and plain types, given by `state_dict`.
    Tasks are known by name and position only; methods never see a data module.

    Args:
        name: shown in reports and run folders.
    """

    hooks: ClassVar[tuple[str, ...]] = HOOKS

    def __init__(self, name: str = "sequential") -> None:
        self.name = name

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a public method that nothing calls: most likely a misspelt hook.

        Raises:
            TypeError: names the method and lists the hooks.
        """
        super().__init_subclass__(**options)
        wrong = [
            name
            for name, member in vars(cls).items()
            if callable(member) and not name.startswith("_") and name not in HOOKS
        ]
        if wrong:
            raise TypeError(
                f"{cls.__name__}.{wrong[0]} is no hook and would never be called; hooks are: {', '.join(HOOKS)}"
            )

    def prepare_data(self, task: str, position: int, rows: Sequence[Any]) -> Sequence[Any]:
        """Training rows of a task, which may be mixed with stored ones. Called before the loader is built."""
        return rows

    def before_experience(self, model: nn.Module, task: str, position: int) -> None:
        """Add, freeze or reset trainable parts. Called before optimizers are made and a checkpoint is restored."""

    def batch_context(self, batch: dict[str, Any]) -> AbstractContextManager[None]:
        """Entered around the forward and backward pass of a batch: where per-sample routing travels."""
        return nullcontext()

    def transform_inputs(self, embeds: Tensor, batch: dict[str, Any]) -> Tensor:
        """Input embeddings `[b, l, h]`, before the language model."""
        return embeds

    def extra_loss(self, model: nn.Module, batch: dict[str, Any], logits: Tensor, targets: Tensor) -> Tensor | None:
        """Added to the loss; None adds nothing. `logits [n, vocabulary]` and `targets [n]` of the learned tokens."""
        return None

    def before_step(self, model: nn.Module) -> None:
        """May change gradients. Once per optimizer step: they are summed up, synchronised and unscaled, not clipped."""

    def after_step(self, model: nn.Module, optimizer: Optimizer) -> None:
        """After each optimizer step."""

    def after_experience(self, model: nn.Module, task: str, position: int) -> None:
        """Importances, merges, buffers; the model is still on its device."""

    def route(self, batch: dict[str, Any]) -> AbstractContextManager[None]:
        """Entered around generation."""
        return nullcontext()

    def state_dict(self) -> dict[str, Tensor]:
        """State that the next task needs, as tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Undo of `state_dict`."""
