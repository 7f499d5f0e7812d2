"""Config keys that a run sets itself, or that would break its plan, each with what to use instead; ranges of others."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic_core import PydanticCustomError

LIGHTNING = "PL_TRAINER_"
SAMPLES = "use data.limit_train=N or data.fraction=0.1, from which steps and schedule are counted"
EPOCHS = "use batches.epochs=N"
CELLS = "there is no validation; use evaluation=seen or evaluation=full"
ANSWERS = "use data.limit_test=N"
COUNTED = "it is counted from the data"

INSTEAD = {
    "trainer.max_epochs": EPOCHS,
    "trainer.min_epochs": EPOCHS,
    "trainer.max_steps": SAMPLES,
    "trainer.min_steps": SAMPLES,
    "trainer.max_time": SAMPLES,
    "trainer.limit_train_batches": SAMPLES,
    "trainer.overfit_batches": SAMPLES,
    "trainer.fast_dev_run": "use +debug=tiny",
    "trainer.limit_val_batches": CELLS,
    "trainer.num_sanity_val_steps": CELLS,
    "trainer.val_check_interval": CELLS,
    "trainer.check_val_every_n_epoch": CELLS,
    "trainer.limit_test_batches": ANSWERS,
    "trainer.limit_predict_batches": ANSWERS,
    "trainer.callbacks": "use +callbacks.NAME._target_=...",
    "trainer.logger": "use logger=csv, logger=tensorboard or logger=wandb",
    "trainer.enable_checkpointing": "use callbacks.checkpoint.every_n_steps=N",
    "trainer.enable_progress_bar": "the run has a progress line of its own",
    "trainer.enable_model_summary": "plan.json has the trainable parameters",
    "trainer.barebones": "it would leave out the callbacks that keep the run's position",
    "trainer.use_distributed_sampler": "the tasks' own sampler divides the samples among the devices",
    "trainer.reload_dataloaders_every_n_epochs": "samples are shuffled anew in every epoch without it",
    "trainer.default_root_dir": "use paths.runs=FOLDER",
    "optimizer.params": "the plan decides which parameters learn",
    "schedule.optimizer": "use optimizer=...",
    "schedule.total_steps": COUNTED,
    "logger.*.run_dir": "use paths.runs=FOLDER",
    "logger.*.experience": "it is the experience's own name",
    "logger.*.config": "it is the run's config",
    "backbone.weights": "only `data verify` leaves the weights out",
}
"""Key or pattern -> remedy."""


def _positive(rate: float) -> float:
    if rate <= 0:
        raise PydanticCustomError("rate", "must be positive, or nothing is learned")
    return rate


RANGES: dict[str, Any] = {
    "trainer.accumulate_grad_batches": PositiveInt,
    "trainer.devices": PositiveInt
    | Literal[-1]
    | list[NonNegativeInt]
    | Annotated[str, Field(pattern=r"^(auto|-1|[1-9]\d*|\d+,|\d+(, *\d+)+)$")],
    "trainer.gradient_clip_val": NonNegativeFloat | None,
    "trainer.log_every_n_steps": NonNegativeInt | None,
    "trainer.num_nodes": PositiveInt,
    "optimizer.lr": Annotated[float, AfterValidator(_positive)],
    "optimizer.weight_decay": NonNegativeFloat,
}
"""What the annotations of libraries leave open."""


def environment_problems(environment: Iterable[str]) -> list[str]:
    """Lines about variables from which Lightning would take options of the trainer, unseen by the config."""
    names = sorted(name for name in environment if name.startswith(LIGHTNING))
    return [
        f"{name}: is set in the environment and would change the trainer unseen; unset it, and see whether "
        f"+trainer.{name.removeprefix(LIGHTNING).lower()}=... may be set"
        for name in names
    ]


def ranges_of(path: str) -> dict[str, Any]:
    """Annotations by option for the node of this key."""
    return {key.rpartition(".")[2]: hint for key, hint in RANGES.items() if key.rpartition(".")[0] == path}


def set_by_the_run(keys: Iterable[str]) -> list[str]:
    """Lines about those of the dotted keys that a command line must not set."""
    remedies = [(key, remedy) for key in keys for known, remedy in INSTEAD.items() if fnmatchcase(key, known)]
    return [f"{key}: cannot be set; {remedy}" for key, remedy in remedies]
