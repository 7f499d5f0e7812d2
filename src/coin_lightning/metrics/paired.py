"""Two methods on the same test samples, run by run: how large the difference is, and how sure.

A run of one method is paired with the run of the other that shares seed and order of tasks. Two things could have come
out otherwise: the test images, several questions on one of which are not independent, and the training runs. Each has
an interval of its own, and they are not to be mixed up: many samples say nothing about another seed.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from coin_lightning.errors import DataError

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Ours minus theirs, in the unit of the scores.

    Attributes:
        mean: over tasks, of the mean over runs and samples.
        images: interval of 95 % over other test images, for these runs (percentile bootstrap, images drawn whole).
        runs: the difference of each pair of runs.
        p: of a two-sided exact sign-flip test over the runs; 2 / 2**R is the least that R pairs can give.
    """

    mean: float
    images: tuple[float, float]
    runs: tuple[float, ...]
    p: float


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
    _check(ours, theirs, images)
    gaps = {task: np.asarray(ours[task], float) - np.asarray(theirs[task], float) for task in ours}
    runs = np.mean([gap.mean(axis=1) for gap in gaps.values()], axis=0)
    rng = np.random.default_rng(seed)
    drawn = np.mean([_resampled(gap.mean(axis=0), images[task], rng) for task, gap in gaps.items()], axis=0)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return PairedDifference(float(runs.mean()), (float(low), float(high)), tuple(runs.tolist()), sign_flip(runs))


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the mean of `differences` [R] when each could as well have had the other sign; exact, all 2**R."""
    signs = np.array(list(product((1.0, -1.0), repeat=len(differences))))
    means = np.abs(signs @ differences)
    return float((means >= means[0] * (1 - 1e-12)).mean())


def _resampled(gap: np.ndarray, images: Sequence[Hashable], rng: np.random.Generator) -> np.ndarray:
    """[DRAWS] means of `gap` [N] over images drawn with replacement, each with all its samples."""
    places: dict[Hashable, int] = {}
    groups = np.array([places.setdefault(image, len(places)) for image in images])
    sums, counts = (np.bincount(groups, weights=each, minlength=len(places)) for each in (gap, np.ones(len(gap))))
    times = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), size=DRAWS)
    return np.asarray((times @ sums) / (times @ counts))


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
