"""Questions on one image are not independent: bootstrap, standard error and power with whole images as units.

All is about other test images for the same trained models; another training run is another matter (`paired`). The
images of each task are drawn by themselves: an image that two tasks share counts as two.
"""

from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist

import numpy as np

DRAWS, FEWEST = 10_000, 1000
"""Draws of a bootstrap; fewer, down to the second number, where images are so many that it would take minutes: their
interval is narrow, and so is what the choice of draws changes."""
EFFORT = 20_000_000
"""Draws times images that a bootstrap may take, some seconds."""
FEWEST_IMAGES = 5
"""Of a task, below which there is no interval: drawn again and again, so few images say nothing of others."""
LEVEL = 0.95
POWER = 0.8
BLOCK = 4_000_000
"""Numbers of one block of draws in memory."""
Interval = tuple[float, float, float]
"""Mean, lower and upper end."""


def number_of_draws(images: Mapping[str, Sequence[Hashable]]) -> int:
    """How often to draw the images of all tasks."""
    return int(np.clip(EFFORT // sum(len(set(each)) for each in images.values()), FEWEST, DRAWS))


def redrawn_means(values: np.ndarray, images: Sequence[Hashable], draws: int, rng: np.random.Generator) -> np.ndarray:
    """[draws, K] means of the rows of `values` [K, N] over images drawn with replacement, each with all its samples.

    NaN where the images are fewer than `FEWEST_IMAGES`. All rows see the same draws, so that differences between them
    are those on the same images.
    """
    groups, count = _groups(images)
    if count < FEWEST_IMAGES:
        return np.full((draws, len(values)), np.nan)
    sums = np.stack([np.bincount(groups, weights=row, minlength=count) for row in values], axis=1)
    sizes = np.bincount(groups, minlength=count)
    step = max(1, BLOCK // count)
    blocks = []
    for start in range(0, draws, step):
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(step, draws - start))
        blocks.append((times @ sums) / (times @ sizes)[:, None])
    return np.concatenate(blocks)


def ends(means: np.ndarray) -> list[tuple[float, float]]:
    """Ends of the percentile interval of `LEVEL` of redrawn means [draws, K], of each of K; NaN where a mean is."""
    low, high = np.quantile(np.ascontiguousarray(means.T), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def image_intervals(
    scores: Mapping[str, np.ndarray], images: Mapping[str, Sequence[Hashable]], seed: int = 0
) -> list[list[Interval]]:
    """Percentile bootstrap intervals of K methods on each task, and on the average of the tasks.

    Args:
        scores: by task, [K, N] mean score of K methods on each of N test samples.
        images: by task the image of each sample; a sample without one is an image of its own.
        seed: of the bootstrap.

    Returns:
        for each method one interval per task in the order of `scores`, and that of the average behind them.
    """
    rng, draws = np.random.default_rng(seed), number_of_draws(images)
    intervals, together = [], np.zeros(1)
    for task, values in scores.items():
        drawn = redrawn_means(values, images[task], draws, rng)
        intervals.append(_intervals(values.mean(axis=1), drawn))
        together = together + drawn / len(scores)
    means = np.mean([values.mean(axis=1) for values in scores.values()], axis=0)
    return [list(each) for each in zip(*intervals, _intervals(means, together), strict=True)]


def _intervals(means: np.ndarray, drawn: np.ndarray) -> list[Interval]:
    return [(mean, *interval) for mean, interval in zip(means.tolist(), ends(drawn), strict=True)]


def standard_error(values: np.ndarray, images: Sequence[Hashable]) -> float:
    """Standard error of the mean of `values` [N], whose images were drawn with all their samples; NaN for one image.

    sqrt(C / (C - 1) * sum_c (sum_{i in c} (v_i - mean))^2) / N over C images: the clustered standard error of Miller
    2024 (arXiv 2411.00640) with the factor for few clusters.
    """
    groups, count = _groups(images)
    if count < 2:
        return float("nan")
    residuals = np.bincount(groups, weights=values - values.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * np.square(residuals).sum()) / len(values))


def detectable(error: float) -> float:
    """The smallest true difference that a two-sided test at 1 - `LEVEL` finds with probability `POWER`.

    (z_{1-alpha/2} + z_{power}) * error = 2.80 * error, the power formula of a z-test, as in Miller 2024 (arXiv
    2411.00640), solved for the difference; the chance to be significant on the wrong side is left out.

    Args:
        error: standard error of the paired difference, in the unit of the scores.
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)) * error


def _groups(images: Sequence[Hashable]) -> tuple[np.ndarray, int]:
    """Number of the image of each sample, and of images, in order of first appearance."""
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(image, len(places)) for image in images]), len(places)
