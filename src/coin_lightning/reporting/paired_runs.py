"""Runs of two methods that share seed and order of tasks, compared sample by sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.metrics.paired import PairedDifference, paired_differences, paired_error
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.sample_scores import Questions, SampleReader

QUANTITIES = ("acc", "learning_accuracy", "bwt")
"""Metrics that are means over tasks and samples, so that two runs can be compared on each sample."""
Samples = dict[str, tuple[np.ndarray, Questions]]


def samples(run: RunMatrix, quantity: str, read: SampleReader) -> Samples | None:
    """By task, in the order of their keys, a value [N] of each test sample; their mean over samples and tasks is the
    run's metric.

    Of `bwt` the value is the score at the end minus that right after the task's training, times T / (T - 1): the last
    task counts with zeros, which the metric leaves out of its mean.

    Returns:
        None where the run does not define the metric (unfinished, no sequence, one task).

    Raises:
        RunError: a task has no scores of single samples; or as `SampleReader`.
    """
    if not run.is_complete or (quantity != "acc" and run.training != "sequence"):
        return None
    if quantity == "bwt" and len(run.tasks) == 1:
        return None
    found: Samples = {}
    for task in sorted(run.tasks):
        own, last = run.tasks.index(task) + 1, run.last
        cells = {"acc": [last], "learning_accuracy": [own], "bwt": [last, own]}[quantity]
        scored = [read(run, row, task) for row in cells]
        if any(each is None for each in scored):
            raise RunError(
                f"{run.folder}: {task} has no scores of single samples; two methods cannot be compared on it"
            )
        first, *others = [each for each in scored if each is not None]
        values = first.scores
        for other in others:
            if other.questions != first.questions:
                raise RunError(f"{run.folder}: {task} has other questions at the end; evaluate again")
            values = (values - other.scores) * len(run.tasks) / (len(run.tasks) - 1)
        found[task] = values, first.questions
    return found


def pairs(ours: Sequence[RunMatrix], theirs: Sequence[RunMatrix]) -> list[tuple[RunMatrix, RunMatrix]]:
    """Runs of the same seed and order of tasks; none of imported ones whose seed nobody knows."""
    by_key: dict[tuple[tuple[str, ...], int | None], RunMatrix]
    by_key = {(run.tasks, run.seed): run for run in theirs if run.seed is not None}
    return [(run, other) for run in ours if (other := by_key.get((run.tasks, run.seed))) is not None]


@dataclass(frozen=True)
class _Pairs:
    """Values of all pairs of runs: by task [R, N] on either side, and the questions."""

    ours: dict[str, np.ndarray]
    theirs: dict[str, np.ndarray]
    questions: dict[str, Questions]

    @property
    def error(self) -> float:
        """As of `PairedDifference`."""
        return paired_error(self.ours, self.theirs, {task: asked.images for task, asked in self.questions.items()})


def _pairs(ours: Sequence[RunMatrix], theirs: Sequence[RunMatrix], quantity: str, read: SampleReader) -> _Pairs | None:
    values: tuple[dict[str, list[np.ndarray]], dict[str, list[np.ndarray]]] = ({}, {})
    questions: dict[str, Questions] = {}
    for pair in pairs(ours, theirs):
        both = [samples(run, quantity, read) for run in pair]
        if None in both:
            continue
        for side, found in zip(values, both, strict=True):
            for task, (each, asked) in (found or {}).items():
                if questions.setdefault(task, asked) != asked:
                    raise RunError(
                        f"{task}: the runs have other test samples, or other rules for them; only runs with the same "
                        "ones are paired"
                    )
                side.setdefault(task, []).append(each)
    stacked = [{task: np.stack(each) for task, each in side.items()} for side in values]
    return _Pairs(stacked[0], stacked[1], questions) if questions else None


def paired_runs(
    groups: Sequence[Sequence[RunMatrix]], theirs: Sequence[RunMatrix], quantity: str, read: SampleReader
) -> list[PairedDifference | None]:
    """Of each group its runs minus theirs, over all pairs of runs that define the metric; None without one.

    Args:
        groups: runs of one method, or of one group, each.
        theirs: of the one that all are compared with.
        quantity: one of `QUANTITIES`.
        read: of the records.

    Raises:
        RunError: the runs have other test samples or rules; or as `samples`.
    """
    found = [_pairs(ours, theirs, quantity, read) for ours in groups]
    differences: list[PairedDifference | None] = [None] * len(found)
    for asked in _distinct([each.questions for each in found if each is not None]):
        same = {at: each for at, each in enumerate(found) if each is not None and each.questions == asked}
        sides = [each.ours for each in same.values()], [each.theirs for each in same.values()]
        images = {task: each.images for task, each in asked.items()}
        for at, difference in zip(same, paired_differences(*sides, images), strict=True):
            differences[at] = difference
    return differences


def _distinct(given: Sequence[dict[str, Questions]]) -> list[dict[str, Questions]]:
    found: list[dict[str, Questions]] = []
    for each in given:
        if each not in found:
            found.append(each)
    return found


def paired_errors(
    groups: Sequence[Sequence[RunMatrix]], theirs: Sequence[RunMatrix], quantity: str, read: SampleReader
) -> list[float]:
    """The errors alone of the differences of `paired_runs` that there are; raises as it does."""
    found = [_pairs(ours, theirs, quantity, read) for ours in groups]
    return [each.error for each in found if each is not None]
