"""`Protocol`: the switches in which publications that report "CoIN" differ (design section 7), and what they ask for.

Most fields travel to where they act through the config (`${protocol.scorers}`). Here they are checked together, before
anything is loaded, and the ones that concern the training loop are worked out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from coin_lightning.errors import ConfigError
from coin_lightning.metrics.score_matrix import JOINT

CHOICES = {
    "starting_weights": ("backbone", "pretrained", "instruction_tuned"),
    "projector": ("carried", "reinitialised", "frozen"),
    "loss_weighting": ("exact", "micro_batch"),
    "evaluation_frame": ("as_training", "reference_crop"),
    "boxes": ("converted", "as_written"),
    "long_samples": ("refuse", "truncate"),
    "bwt_divisor": ("tasks_minus_one", "tasks"),
    "judge_variant": ("strict", "reference"),
}
"""Values of the fields that are one word."""


@dataclass(frozen=True)
class Protocol:
    """One set of switches; two results may be compared when theirs are equal.

    Attributes:
        name: of the set, e.g. `as_published`.
        starting_weights: `pretrained` (projector aligned, never instruction-tuned: what CoIN starts from),
            `instruction_tuned`, or `backbone`: whatever the given files hold.
        projector: between tasks `carried`, `reinitialised` or `frozen`; see `ContinualMLLM`.
        projector_lr: its learning rate; None means the optimizer's own.
        loss_weighting: `exact`, every answer token of an optimizer step counts alike, or `micro_batch`, the mean of the
            means of its batches, as in the published code; see `ContinualMLLM`.
        global_batch: training samples per optimizer step over all devices, for all tasks or by task (`joint` is all of
            them at once); None: what batch size, accumulation and devices make.
        evaluation_frame: images at evaluation `as_training`, or by the reference code's centre crop, in which it
            evaluates ScienceQA, ImageNet, Grounding and VQAv2 (`coin_reference.md` section 4.1).
        boxes: grounding answers `converted` to what the backbone family was taught, or `as_written` in the files.
        long_samples: training samples beyond the backbone's context are refused, or cut there as in the published code.
        scorers: variant of the tasks' scorers: the data sets' own rules (`corrected`), those of the published code
            (`reference`), or another one that every task's yaml has.
        bwt_divisor: which backward transfer is the headline: over T-1 tasks, or over T as CoIN prints it.
        test_subset: `full`, a number of samples, a file of question ids, or one of these by task.
        judge_variant: how a judge's reply is read; see `evaluation.judges`.
    """

    name: str
    starting_weights: str
    projector: str
    projector_lr: float | None
    loss_weighting: str
    global_batch: int | Mapping[str, int] | None
    evaluation_frame: str
    boxes: str
    long_samples: str
    scorers: str
    bwt_divisor: str
    test_subset: int | str | Mapping[str, int | str]
    judge_variant: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Protocol":
        """Read the `protocol` group of a config.

        Raises:
            ConfigError: with every field that is missing, unknown or has a wrong value.
        """
        names = [field.name for field in fields(cls)]
        problems = [
            f"protocol.{name} is missing; take it over from as_intended.yaml" for name in names if name not in values
        ]
        problems += [
            f"protocol.{name} is no switch; there are {', '.join(names)}" for name in values if name not in names
        ]
        for name, known in CHOICES.items():
            if name in values and values[name] not in known:
                problems.append(f"protocol.{name}={values[name]!r} is unknown; use one of {', '.join(known)}")
        rate = values.get("projector_lr")
        if rate is not None and not (_is_number(rate) and rate > 0):
            problems.append(f"protocol.projector_lr={rate!r}; give a positive rate, or null for the optimizer's own")
        problems += _batch_problems(values.get("global_batch"))
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(**values)

    @property
    def headline_bwt(self) -> str:
        """Metric key of the backward transfer to show first."""
        return "bwt_coin" if self.bwt_divisor == "tasks" else "bwt"

    def check_names(self, tasks: Collection[str]) -> None:
        """Refuse a by-task value for a task that no scenario of these tasks has.

        Raises:
            ConfigError: names field and task.
        """
        for field in ("global_batch", "test_subset"):
            value = getattr(self, field)
            wrong = [name for name in value if name not in (*tasks, JOINT)] if isinstance(value, Mapping) else []
            if wrong:
                raise ConfigError(f"protocol.{field} names {', '.join(wrong)}; the tasks are {', '.join(tasks)}")

    def check_learned(self, tasks: Collection[str]) -> None:
        """Refuse global batches by task that say nothing of one that is learned: its steps would learn from whatever
        batch size and devices make.

        Args:
            tasks: names of what is learned; all at once are `joint`.

        Raises:
            ConfigError: names them.
        """
        absent = [name for name in tasks if isinstance(self.global_batch, Mapping) and name not in self.global_batch]
        if absent:
            raise ConfigError(
                f"protocol.global_batch={self.global_batch} has no number for what is learned: {', '.join(absent)}; "
                f"set protocol.global_batch=N, or +protocol.global_batch.{absent[0]}=N"
            )

    def global_batch_of(self, task: str) -> int | None:
        """Samples per optimizer step that are asked for; None when nothing is."""
        return self.global_batch.get(task) if isinstance(self.global_batch, Mapping) else self.global_batch

    def accumulation(self, task: str, batch_size: int, devices: int, otherwise: int = 1) -> int:
        """Batches per optimizer step that make the global batch of a task.

        Args:
            task: key of the task, or `joint`.
            batch_size: samples per device and batch.
            devices: processes that train.
            otherwise: the trainer's own accumulation, for a task without a global batch.

        Raises:
            ConfigError: the numbers do not divide; the message has those that would.
        """
        wanted = self.global_batch_of(task)
        if wanted is None:
            return otherwise
        if otherwise != 1:
            raise ConfigError(
                f"protocol.global_batch={wanted} ({task}) decides the accumulation, and "
                f"trainer.accumulate_grad_batches={otherwise} does so too; set one of them"
            )
        together = batch_size * devices
        if wanted % together == 0:
            return wanted // together
        raise ConfigError(
            f"protocol.global_batch={wanted} of {task} is no multiple of {together} = batches.size {batch_size} "
            f"x {devices} device{'s' if devices > 1 else ''}; nearest that fit: {_nearest(wanted, together)}, or "
            f"batches.size={_fitting(wanted, batch_size, devices)}"
        )


def _nearest(wanted: int, together: int) -> str:
    below = wanted // together * together
    return f"{below} and {below + together}" if below else str(together)


def _fitting(wanted: int, batch_size: int, devices: int) -> str:
    """The largest batch size up to the configured one that divides, or a word when the devices do not."""
    found = [size for size in range(batch_size, 0, -1) if wanted % (size * devices) == 0]
    return str(found[0]) if found else f"none on {devices} devices"


def _batch_problems(value: Any) -> list[str]:
    numbers = value if isinstance(value, Mapping) else {} if value is None else {"": value}
    return [
        f"protocol.global_batch{'.' if task else ''}{task}={number!r}; give a whole number of samples from 1, or null"
        for task, number in numbers.items()
        if not isinstance(number, int) or isinstance(number, bool) or number < 1
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
