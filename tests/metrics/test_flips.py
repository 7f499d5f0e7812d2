import numpy as np
import pytest

from coin_lightning.metrics.flips import flips


def test_flips_by_hand():
    before = np.array([100.0, 100, 100, 0, 0, 0, 0, 30, 60, 50])
    after = np.array([100.0, 0, 49, 100, 0, 0, 0, 0, 0, 90])
    found = flips(before, after)
    # right from one half on: 1 and 10 stay right; 2, 3, 9 are lost; 4 is gained; 5, 6, 7, 8 stay wrong
    assert (found.right, found.lost, found.gained, found.wrong, found.count) == (20, 30, 10, 40, 10)
    assert found.net == -20
    assert found.chance is None
    assert np.isnan(found.lost_beyond_chance)


def test_chance_by_hand():
    before, after = np.array([100.0, 0, 0, 0, 0]), np.array([0.0, 0, 0, 0, 100])
    # of the wrong both times one has 2 options (1/1), one 3 (1/2), one 5 (1/4): 1.75 of five samples
    found = flips(before, after, [4, 2, 3, 5, 2])
    assert found.chance == 35
    assert (found.lost_beyond_chance, found.gained_beyond_chance) == (-15, -15)
    # the one with two options named none of them at one of the times: it was no guess
    assert flips(before, after, [4, 2, 3, 5, 2], np.array([True, False, True, True, True])).chance == pytest.approx(15)


@pytest.mark.parametrize("options", [2, 3, 5])
def test_whoever_only_guesses_flips_by_chance_alone(options):
    rng = np.random.default_rng(options)
    times = [100.0 * (rng.integers(options, size=200_000) == 0) for _ in range(2)]
    found = flips(*times, [options] * 200_000)
    assert found.lost == pytest.approx(100 / options * (1 - 1 / options), abs=0.5)
    assert found.lost_beyond_chance == pytest.approx(0, abs=0.5)
    assert found.gained_beyond_chance == pytest.approx(0, abs=0.5)


def test_what_is_forgotten_is_left_after_chance():
    """Half is known at first, and a fifth of that later no more; all else is guessed among four."""
    rng, count = np.random.default_rng(7), 400_000
    known = np.arange(count) % 10 < 5
    still = known & (np.arange(count) % 10 < 4)
    before, after = (100.0 * (sure | (rng.integers(4, size=count) == 0)) for sure in (known, still))
    found = flips(before, after, [4] * count)
    assert found.lost_beyond_chance == pytest.approx(10 * 3 / 4, abs=0.3)  # a quarter of the forgotten is guessed
    assert found.gained_beyond_chance == pytest.approx(0, abs=0.3)
