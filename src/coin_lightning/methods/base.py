"""`Method`: what a continual-learning algorithm may do, and when. The base class: plain sequential tuning."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, Protocol

from peft import PeftConfig
from torch import Tensor, nn

from coin_lightning.methods.step import Inputs, StepOutput

HOOKS = (
    "adapter",
    "restore",
    "before_experience",
    "samples",
    "inputs",
    "slot_weights",
    "loss",
    "before_step",
    "after_step",
    "after_experience",
)
"""In the order in which they are called."""


class Context(Protocol):
    """What a method sees of an experience; made by `continual.context.ExperienceContext`.

    Attributes:
        module: the `ContinualMLLM` on its device.
        task: name of the task that is learned.
        position: of the experience, from 1.
        seed: of the run.
        earlier: names of the tasks learned before, in order.
    """

    module: Any
    task: str
    position: int
    seed: int
    earlier: tuple[str, ...]

    def samples(self, task: str | None = None) -> Any:
        """Training samples of a task so far, default this one's: what its data set gives, nothing mixed in."""

    def joined(self, parts: Sequence[Any]) -> Any:
        """Samples of several such sequences behind one another."""

    def batches(self, samples: Sequence[Any], batch_size: int | None = None) -> Iterator[dict[str, Any]]:
        """This process's share of batches, on the device.

        `samples` of a batch is their number. One with none is another process's: it is there because all processes
        must compute equally often, and nothing of it counts.
        """

    def forward(self, batch: dict[str, Any]) -> StepOutput:
        """As in training, in the run's precision."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Within it the module is in evaluation mode: no dropout."""

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum over all processes."""


class Method(nn.Module):
    """Sequential fine-tuning: each task simply goes on with the weights of the one before.

    A method overrides some of the hooks below; a plugin is the same class, and several of them may join one method.
    Parameters are optimised with the adapter; parameters and buffers are moved, saved and restored with the module and
    keep their dtypes. What is not a tensor and small goes into `memory`: ids and plain facts, never images.

    Args:
        name: shown in reports and run folders.

    Attributes:
        memory: JSON values, kept with the weights of each task.
    """

    hooks: ClassVar[tuple[str, ...]] = HOOKS

    def __init__(self, name: str = "sequential") -> None:
        super().__init__()
        self.name = name
        self.memory: dict[str, Any] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a public method that nothing calls: most likely a misspelt hook.

        Raises:
            TypeError: names the method and lists the hooks.
        """
        super().__init_subclass__(**options)
        known = {*HOOKS, *dir(nn.Module)}
        wrong = [
            name
            for name, member in vars(cls).items()
            if callable(member) and not name.startswith("_") and name not in known
        ]
        if wrong:
            raise TypeError(
                f"{cls.__name__}.{wrong[0]} is no hook and would never be called; hooks are: {', '.join(HOOKS)}"
            )

    def adapter(self, config: PeftConfig, tasks: Sequence[str]) -> PeftConfig:
        """Structure for the whole sequence, e.g. one slot per task. Before anything is made.

        Args:
            config: of the adapter, as configured.
            tasks: that will be learned, in order.
        """
        return config

    def restore(self, model: Any, position: int) -> None:
        """Bring model and method into the structure that they have behind `position` experiences: what is frozen, which
        buffers there are. Called on every path, before the weights of that position are loaded.

        Args:
            model: the `ContinualMLLM`.
            position: 0 before the first experience.
        """

    def before_experience(self, context: Context) -> None:
        """Structure for the coming task; may pass over data. Before optimizers are made and a checkpoint is restored.
        The model is on its device; of one in pieces (`trainer=fsdp`) only what learns, so that it cannot compute yet.

        Called again when a killed task is continued: it must then do the same.
        """

    def samples(self, context: Context, samples: Any) -> Any:
        """What this experience learns from, instead of `samples`: replay mixes earlier ones in."""
        return samples

    def inputs(self, inputs: Inputs, batch: dict[str, Any]) -> Inputs:
        """What enters the language model, in training and in generation."""
        return inputs

    def slot_weights(self, batch: dict[str, Any]) -> Any:
        """Weights of the adapter's slots per sample, in training and in generation; None leaves it to its router.

        See `adapters.routing.slot_weights` for the shapes.
        """
        return None

    def loss(self, step: StepOutput, batch: dict[str, Any]) -> Tensor | None:
        """Added to the objective's loss; None adds nothing."""
        return None

    def before_step(self, model: Any) -> None:
        """May change gradients. Once per optimizer step: they are summed up, synchronised and unscaled, not clipped."""

    def after_step(self, model: Any) -> None:
        """After each optimizer step."""

    def after_experience(self, context: Context) -> None:
        """Importances, merges, buffers; the model is still on its device."""


def overriding(methods: Sequence[Method], hook: str) -> list[Method]:
    """Those of the methods that have a hook of their own."""
    return [method for method in methods if getattr(type(method), hook) is not getattr(Method, hook)]


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for all parts; afterwards each has the mode that it had."""
    before = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in before.items():
            part.training = training
