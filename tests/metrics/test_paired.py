from itertools import product

import numpy as np
import pytest

from coin_lightning.errors import DataError
from coin_lightning.metrics import image_clusters
from coin_lightning.metrics.image_clusters import standard_error
from coin_lightning.metrics.paired import (
    holm,
    least_p,
    paired_difference,
    paired_differences,
    paired_error,
    pairs_needed,
    sign_flip,
)


def test_a_difference_by_hand():
    ours = {"a": [[100, 0, 100, 100], [100, 100, 100, 100]], "b": [[50, 50], [0, 100]]}
    theirs = {"a": [[0, 0, 100, 100], [100, 0, 100, 0]], "b": [[50, 50], [100, 100]]}
    found = paired_difference(ours, theirs, {"a": "wxyz", "b": "vw"})
    # run 1: a 25, b 0; run 2: a 50, b -50
    assert found.runs == (12.5, 0)
    assert found.mean == 6.25
    assert found.p == 1.0  # of (12.5, 0) every choice of signs is as far from zero
    assert np.isnan(found.images).all()  # two images say nothing of others


def test_many_differences_at_once_are_those_one_by_one():
    rng = np.random.default_rng(3)
    images = {"a": rng.integers(8, size=30).tolist(), "b": list(range(20))}
    sides = [
        [{task: rng.normal(size=(runs, len(images[task]))) for task in images} for runs in (1, 3, 2)] for _ in range(2)
    ]
    for found, ours, theirs in zip(paired_differences(*sides, images, seed=5), *sides, strict=True):
        alone = paired_difference(ours, theirs, images, seed=5)
        assert found.images == pytest.approx(alone.images, abs=1e-12)
        assert (found.mean, found.runs, found.p, found.error) == (alone.mean, alone.runs, alone.p, alone.error)
        assert paired_error(ours, theirs, images) == alone.error
    with pytest.raises(DataError, match="cannot be paired"):
        paired_differences(sides[0], [*sides[1][:2], {"a": sides[1][2]["a"]}], images)


def test_sign_flips_are_counted_exactly():
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip(np.array([1.0, 2.0, -3.0])) == 1
    assert sign_flip(np.array([3.0, 3.0, -1.0])) == 4 / 8  # sums 5, 7 and their opposites of eight
    assert sign_flip(np.full(5, 0.1)) == 2 / 32


def test_sign_flips_against_all_of_them_one_by_one():
    rng = np.random.default_rng(0)
    for count in range(1, 9):
        values = rng.integers(-4, 5, size=count) / 10  # small steps: many sums are equal
        sums = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in product((1, -1), repeat=count)]
        assert sign_flip(values) == np.mean([each >= abs(values.sum()) - 1e-9 for each in sums])
    assert sign_flip(np.full(40, 0.3)) == 2 / 2**40


def test_holm_by_hand():
    # by size .005, .01, .03, .04: times 4, 3, 2, 1 give .02, .03, .06, .04, and none below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_what_few_pairs_of_runs_can_give():
    assert [least_p(pairs) for pairs in (1, 2, 3, 6)] == [1.0, 0.5, 0.25, 0.03125]
    assert [pairs_needed(groups) for groups in (1, 2, 3, 4)] == [6, 7, 7, 8]  # 4 * 2 / 2**7 = 0.0625


def test_the_error_of_an_average_is_that_of_its_tasks():
    rng = np.random.default_rng(4)
    ours, images = (
        {"a": rng.normal(size=(2, 30)), "b": rng.normal(size=(2, 20))},
        {"a": [*range(30)], "b": [*range(20)]},
    )
    found = paired_difference(ours, {task: np.zeros_like(each) for task, each in ours.items()}, images)
    each = [standard_error(ours[task].mean(axis=0), images[task]) for task in "ab"]
    assert found.error == pytest.approx((each[0] ** 2 + each[1] ** 2) ** 0.5 / 2)


def test_the_interval_is_that_of_a_mean_of_independent_images():
    rng = np.random.default_rng(1)
    gap = rng.normal(3, 10, size=400)
    found = paired_difference({"a": gap[None]}, {"a": np.zeros((1, 400))}, {"a": list(range(400))})
    half = 1.96 * gap.std() / 20
    assert found.images == pytest.approx((gap.mean() - half, gap.mean() + half), abs=0.1)


def test_questions_on_one_image_count_as_one():
    """Ten equal questions on each image: as sure as one, not as ten."""
    rng = np.random.default_rng(2)
    gap = rng.normal(0, 10, size=60)
    zeros = {"a": np.zeros((1, 60))}
    once = paired_difference({"a": gap[None]}, zeros, {"a": list(range(60))})
    tenfold = {"a": np.repeat(gap, 10)[None]}
    often = paired_difference(tenfold, {"a": np.zeros((1, 600))}, {"a": np.repeat(np.arange(60), 10).tolist()})
    wrong = paired_difference(tenfold, {"a": np.zeros((1, 600))}, {"a": list(range(600))})
    assert often.images == pytest.approx(once.images)
    width, expected = wrong.images[1] - wrong.images[0], (once.images[1] - once.images[0]) / 10**0.5
    assert width == pytest.approx(expected, rel=0.05)


def test_the_interval_covers_the_truth_as_often_as_it_says(monkeypatch):
    """Two tasks, six questions an image that share a part of their error; true difference 1."""
    monkeypatch.setattr(image_clusters, "DRAWS", 1000)
    covered, trials = 0, 200
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        gaps, images = {}, {}
        for task in "ab":
            shared = rng.normal(1, 5, size=(50, 1))
            gaps[task] = (shared + rng.normal(0, 5, size=(50, 6))).reshape(1, 300)
            images[task] = np.repeat(np.arange(50), 6).tolist()
        low, high = paired_difference(gaps, {t: np.zeros((1, 300)) for t in "ab"}, images, trial).images
        covered += low <= 1 <= high
    assert 0.90 <= covered / trials <= 0.98


@pytest.mark.parametrize(
    ("theirs", "images", "message"),
    [
        ({"b": np.zeros((1, 2))}, {"a": [1, 2]}, "tasks a, b and a cannot be paired"),
        ({"a": np.zeros((2, 2))}, {"a": [1, 2]}, r"numbers of runs \[1, 2\]"),
        ({"a": np.zeros((1, 3))}, {"a": [1, 2]}, r"a: \[2, 3\] samples"),
        ({"a": np.zeros((1, 2))}, {"a": [1]}, r"a: \[1, 2\] samples"),
    ],
)
def test_what_does_not_pair_is_refused(theirs, images, message):
    with pytest.raises(DataError, match=message):
        paired_difference({"a": np.zeros((1, 2))}, theirs, images)
