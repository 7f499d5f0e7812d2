"""What happened to single answers between two evaluations: an average that stays may hide as many lost as gained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RIGHT = 50.0
"""Percent; soft scores count as right from here on."""


@dataclass(frozen=True)
class Flips:
    """Shares of the same samples at two times, in percent; the first four add up to 100.

    Attributes:
        right: right both times. lost: right, then wrong. gained: wrong, then right. wrong: wrong both times.
        chance: what guessing alone gives of each of lost and gained; None where there are no options to guess among.
        count: samples.
    """

    right: float
    lost: float
    gained: float
    wrong: float
    chance: float | None
    count: int

    @property
    def net(self) -> float:
        """Gained minus lost: what an average shows."""
        return self.gained - self.lost

    @property
    def lost_beyond_chance(self) -> float:
        """Lost minus chance; NaN without options."""
        return float("nan") if self.chance is None else self.lost - self.chance

    @property
    def gained_beyond_chance(self) -> float:
        """Gained minus chance; NaN without options."""
        return float("nan") if self.chance is None else self.gained - self.chance


def flips(
    before: np.ndarray, after: np.ndarray, options: Sequence[int] | None = None, chosen: np.ndarray | None = None
) -> Flips:
    """Count the flips of N samples.

    Chance: whoever does not know an answer and guesses among k options, anew each time, is right, then wrong, with
    (1/k)(1 - 1/k), and wrong both times with (1 - 1/k)^2, which is k - 1 times as much. So the share that is wrong both
    times gives the flips by guessing in each direction: sum over those samples of 1/(k - 1), divided by N. The model of
    answers (known, or guessed evenly) is that of Harmon et al. 2025 (arXiv 2510.17776), who take the guesses from the
    two accuracies instead. Whoever makes the same guess again makes it too large.

    Args:
        before: [N] score of each sample, percent.
        after: the same later.
        options: [N] number of options of each question, 2 or more; None where there is nothing to choose from.
        chosen: [N] whether an option was named both times; others are wrong for another reason than a guess. Default:
            all.
    """
    first, later = np.asarray(before) >= RIGHT, np.asarray(after) >= RIGHT
    both_wrong = ~(first | later)
    guessed = both_wrong if chosen is None else both_wrong & chosen
    chance = None if options is None else 100 * float((guessed / (np.asarray(options) - 1)).mean())
    cells = (first & later, first & ~later, ~first & later, both_wrong)
    right, lost, gained, wrong = (100 * np.count_nonzero(cell) / len(first) for cell in cells)
    return Flips(right, lost, gained, wrong, chance, len(first))
