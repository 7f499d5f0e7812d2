"""Two methods on the same test samples, run by run: how large the difference is, and how sure.

A run of one method is paired with the run of the other that shares seed and order of tasks. Two things could have come
out otherwise: the test images, several questions on one of which are not independent, and the training runs. Each has
an interval of its own, and they are not to be mixed up: many samples say nothing about another seed.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coin_lightning.errors import DataError
from coin_lightning.metrics.image_clusters import LEVEL, ends, number_of_draws, redrawn_means, standard_error


@dataclass(frozen=True)
class PairedDifference:
    """Ours minus theirs, in the unit of the scores.

    Attributes:
        mean: over tasks, of the mean over runs and samples.
        images: interval of 95 % over other test images, for these runs (percentile bootstrap, images drawn whole).
        runs: the difference of each pair of runs.
        p: of a two-sided exact sign-flip test over the runs; see `least_p`.
        error: standard error of the mean over other test images, for these runs.
    """

    mean: float
    images: tuple[float, float]
    runs: tuple[float, ...]
    p: float
    error: float


def paired_difference(
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
    images: Mapping[str, Sequence[Hashable]],
    seed: int = 0,
) -> PairedDifference:
    """Compare two methods.

    Args:
        ours: by task [R, N] scores of R runs on its N test samples.
        theirs: the same of the other method; run r was made with seed and order of our run r.
        images: by task the image of each sample; a sample without one is an image of its own.
        seed: of the bootstrap.

    Raises:
        DataError: another set of tasks, runs or samples; or no run.
    """
    return paired_differences([ours], [theirs], images, seed)[0]


def paired_differences(
    ours: Sequence[Mapping[str, np.ndarray]],
    theirs: Sequence[Mapping[str, np.ndarray]],
    images: Mapping[str, Sequence[Hashable]],
    seed: int = 0,
) -> list[PairedDifference]:
    """As `paired_difference`, of K methods and their counterparts at once: the images are drawn only once, so that each
    is what it would be by itself, and K cost little more than one.

    Raises:
        DataError: as `paired_difference`.
    """
    for sides in zip(ours, theirs, strict=True):
        _check(*sides, images)
    gaps = [_gaps(*sides) for sides in zip(ours, theirs, strict=True)]
    rng, draws = np.random.default_rng(seed), number_of_draws(images)
    drawn = np.zeros((draws, len(gaps)))
    for task in ours[0]:
        over_runs = np.stack([gap[task].mean(axis=0) for gap in gaps])  # [K, N]
        drawn += redrawn_means(over_runs, images[task], draws, rng) / len(images)
    return [_difference(gap, interval, images) for gap, interval in zip(gaps, ends(drawn), strict=True)]


def _gaps(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {task: np.asarray(ours[task], float) - np.asarray(theirs[task], float) for task in ours}


def _difference(
    gaps: Mapping[str, np.ndarray], interval: tuple[float, float], images: Mapping[str, Sequence[Hashable]]
) -> PairedDifference:
    runs = np.mean([gap.mean(axis=1) for gap in gaps.values()], axis=0)
    error = _error(gaps, images)
    return PairedDifference(float(runs.mean()), interval, tuple(runs.tolist()), sign_flip(runs), error)


def paired_error(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], images: Mapping[str, Sequence[Hashable]]
) -> float:
    """The `error` of `paired_difference` by itself, which takes no draws.

    Raises:
        DataError: as `paired_difference`.
    """
    _check(ours, theirs, images)
    return _error(_gaps(ours, theirs), images)


def _error(gaps: Mapping[str, np.ndarray], images: Mapping[str, Sequence[Hashable]]) -> float:
    squares = [standard_error(gap.mean(axis=0), images[task]) ** 2 for task, gap in gaps.items()]
    return float(np.sqrt(sum(squares)) / len(squares))


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the mean of `differences` [R] when each could as well have had the other sign; exact, all 2**R.

    The sums of the two halves are counted against each other, so that memory goes with 2**(R/2).
    """
    middle = len(differences) // 2
    left, right = (_signed_sums(half) for half in (differences[:middle], differences[middle:]))
    least = abs(left[0] + right[0]) - 1e-12 * np.abs(differences).sum()  # rounding must not tell equal sums apart
    if least <= 0:
        return 1.0
    right.sort()
    above = len(right) - np.searchsorted(right, least - left, side="left")
    below = np.searchsorted(right, -least - left, side="right")
    return float((above.sum() + below.sum()) / 2.0 ** len(differences))


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """[2**R] sums of `values` [R] under every choice of signs, that of all plus first."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p of several comparisons, in their order: to call those at or below 5 % significant errs in any of them
    with at most 5 % (Holm 1979, A simple sequentially rejective multiple test procedure).

    The k-th smallest of m is multiplied by m - k + 1; none is below a smaller one's, or above 1.
    """
    adjusted, highest = [0.0] * len(p), 0.0
    for place, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        highest = max(highest, min(1.0, (len(p) - place) * p[at]))
        adjusted[at] = highest
    return adjusted


def least_p(pairs: int) -> float:
    """The least two-sided p that sign flips of so many pairs of runs can give: 2 / 2**R, whatever the difference."""
    return min(1.0, 2 / 2**pairs)


def pairs_needed(comparisons: int) -> int:
    """The fewest pairs of runs with which the first of so many comparisons can be significant after `holm`."""
    pairs = 1
    while comparisons * least_p(pairs) > 1 - LEVEL + 1e-12:
        pairs += 1
    return pairs


def _check(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], images: Mapping[str, Sequence[Hashable]]
) -> None:
    if not ours or set(ours) != set(theirs) or set(ours) != set(images):
        raise DataError(f"tasks {', '.join(ours)}, {', '.join(theirs)} and {', '.join(images)} cannot be paired")
    runs = {len(scores) for method in (ours, theirs) for scores in method.values()}
    if len(runs) > 1 or 0 in runs:
        raise DataError(f"numbers of runs {sorted(runs)}: every task needs the same pairs of runs, at least one")
    for task, listed in images.items():
        sizes = {np.shape(ours[task])[1], np.shape(theirs[task])[1], len(listed)}
        if len(sizes) > 1:
            raise DataError(f"{task}: {sorted(sizes)} samples; pairs need the same test samples in the same order")
