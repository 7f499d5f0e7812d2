"""Options of an `InstructionTask` by what they are about. A config has each once, and tasks take them over by key."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from coin_lightning.errors import ConfigError
from coin_lightning.tasks.sources import Source
from coin_lightning.tasks.subsets import Fraction

Subset = int | str | Path
"""Test samples: a number, a file of ids, or `full`."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which samples of a data set are used, and where they and what is computed from them lie.

    Args:
        root: folder with the image folder and the instruction folders.
        features: folder of feature stores, token counts and tables.
        source: where samples come from; default: the JSON files below `root`.
        instructions: instruction type, e.g. `Instructions_Original`.
        images: image folder below `root`.
        test_split: file that is evaluated, `test` or `val`.
        fraction, limit_train, limit_test: subsets, drawn with `subset_seed` and the same for every method and seed.
        test_ids: file with the ids of the test samples to use (see `subsets.listed`); `limit_test` is drawn from them.
        test_subset: of the protocol: `full`, a number, a file of ids, or one of these by task; where `limit_test` is
            smaller, that one counts.
        repeated_train_ids: `refuse`, or `allow` training samples to share ids, as LLaVA's conversations on one image
            do: nothing joins on them. They are counted in the notes. Ids of test samples are always unique.
        long_samples: `refuse` training samples beyond the backbone's context, or `truncate` them; the notes count them.
        boxes: `as_written`, or `converted` to the backbone's frame and notation.
        cache_features: run the frozen tower once per image and keep its output below `features`.
        max_cache_gigabytes: refuse to start when the features of a task would take more.
        trains: false leaves the training samples unread.

    Raises:
        ConfigError: an unknown choice.
    """

    root: str | Path
    features: str | Path
    source: Source | None = None
    instructions: str = "Instructions_Original"
    images: str = "cl_dataset"
    test_split: str = "test"
    fraction: Fraction = 1.0
    limit_train: PositiveInt | None = None
    limit_test: PositiveInt | None = None
    subset_seed: int = 0
    test_ids: str | Path | None = None
    test_subset: Subset | Mapping[str, Subset] = "full"
    repeated_train_ids: Literal["refuse", "allow"] = "refuse"
    long_samples: Literal["refuse", "truncate"] = "refuse"
    boxes: str = "converted"
    cache_features: bool = True
    max_cache_gigabytes: NonNegativeFloat = 50.0
    trains: bool = True

    def __post_init__(self) -> None:
        _check_choice("data.repeated_train_ids", self.repeated_train_ids, "refuse", "allow")
        _check_choice("data.long_samples", self.long_samples, "refuse", "truncate")

    def test_limit(self, task: str) -> tuple[int | None, Path | None]:
        """How many test samples of a task are used at most, and the file of their ids; None: no limit, no file.

        Raises:
            ConfigError: `test_subset` is a number below 1, or neither number, file nor `full`; or it is another file
                than `test_ids`.
        """
        subset = self.test_subset.get(task, "full") if isinstance(self.test_subset, Mapping) else self.test_subset
        listed = Path(self.test_ids) if self.test_ids else None
        if subset == "full":
            return self.limit_test, listed
        if isinstance(subset, bool) or not isinstance(subset, Subset) or (isinstance(subset, int) and subset < 1):
            raise ConfigError(
                f"protocol.test_subset={subset!r} ({task}); give full, a number of samples from 1, or a file of ids"
            )
        if isinstance(subset, int):
            return (subset if self.limit_test is None else min(subset, self.limit_test)), listed
        if listed is not None and listed != Path(subset):
            raise ConfigError(
                f"data.test_ids={listed} and protocol.test_subset={subset} ({task}): give one file of ids"
            )
        return self.limit_test, Path(subset)


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How training goes over the samples.

    Args:
        size: samples per device and step.
        epochs: passes over them.
        num_workers: loader processes, also for answers; with cached features none is usually fastest.

    Raises:
        ConfigError: a count below 1.
    """

    size: PositiveInt = 8
    epochs: PositiveInt = 1
    num_workers: NonNegativeInt = 0

    def __post_init__(self) -> None:
        _check_counts("batches", size=self.size, epochs=self.epochs)


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How test samples are answered.

    Args:
        batch_size: samples answered together.
        max_new_tokens: longest answer.
        evaluation_frame: `as_training`, or `reference_crop`: as the published code prepares test images.
        reference_crop: whether it crops those of this task (`coin_reference.md` section 4.1).

    Raises:
        ConfigError: a count below 1, or an unknown frame.
    """

    batch_size: PositiveInt = 32
    max_new_tokens: PositiveInt = 16
    evaluation_frame: Literal["as_training", "reference_crop"] = "as_training"
    reference_crop: bool = False

    def __post_init__(self) -> None:
        _check_counts("answers", batch_size=self.batch_size, max_new_tokens=self.max_new_tokens)
        _check_choice("answers.evaluation_frame", self.evaluation_frame, "as_training", "reference_crop")

    @property
    def frame(self) -> str | None:
        """Of test images where it is another one than in training."""
        return "crop" if self.reference_crop and self.evaluation_frame == "reference_crop" else None


def _check_counts(group: str, **counts: int) -> None:
    for key, value in counts.items():
        if value < 1:
            raise ConfigError(f"{group}.{key}={value} must be at least 1")


def _check_choice(key: str, value: Any, *known: str) -> None:
    if value not in known:
        raise ConfigError(f"{key}={value!r} is unknown; use {' or '.join(known)}")
