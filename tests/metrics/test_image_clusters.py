import numpy as np
import pytest

from coin_lightning.metrics import image_clusters
from coin_lightning.metrics.image_clusters import (
    detectable,
    image_intervals,
    number_of_draws,
    redrawn_means,
    standard_error,
)


def test_the_standard_error_by_hand():
    """Mean 4; the residuals add up to -4 on one image and to 4 on the other: sqrt(2/1 * 32) / 4."""
    assert standard_error(np.array([1.0, 3.0, 5.0, 7.0]), "aabb") == 2.0
    assert np.isnan(standard_error(np.array([1.0, 3.0]), "aa"))


def test_with_a_question_an_image_it_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=50)
    assert standard_error(values, list(range(50))) == pytest.approx(values.std(ddof=1) / 50**0.5)


def test_the_detectable_difference_is_the_textbook_multiple():
    assert detectable(2.0) == pytest.approx(2 * (1.959964 + 0.841621), abs=1e-5)


def test_a_difference_of_that_size_is_found_in_four_of_five_studies():
    """150 images with three questions each that share a part of what makes them hard; z-tests by clustered errors."""
    rng, images, trials = np.random.default_rng(3), np.repeat(np.arange(150), 3), 1500
    shared, own = 30.0, 40.0
    true_error = np.sqrt(shared**2 / 150 + own**2 / 450)
    found = 0
    for _ in range(trials):
        gap = detectable(true_error) + np.repeat(rng.normal(0, shared, 150), 3) + rng.normal(0, own, 450)
        found += abs(gap.mean()) > 1.959964 * standard_error(gap, images)
    assert 0.77 <= found / trials <= 0.83


def test_means_over_redrawn_images_against_a_slow_direct_bootstrap():
    values, images = np.array([[0.0, 100, 50, 100, 0, 30, 10], [100.0, 0, 0, 25, 75, 5, 90]]), "abacbde"
    made = redrawn_means(values, images, 25, np.random.default_rng(5))
    draws = np.random.default_rng(5).multinomial(5, [1 / 5] * 5, size=25)
    for line, times in zip(made, draws, strict=True):
        taken = [at for at, image in enumerate(images) for _ in range(times["abcde".index(image)])]
        assert line == pytest.approx(values[:, taken].mean(axis=1))


def test_of_too_few_images_there_is_no_interval():
    scores = {"few": np.array([[100.0, 100, 50, 0]]), "many": np.array([[0.0, 100, 50, 100, 0]])}
    ((few, many, together),) = image_intervals(scores, {"few": "aabb", "many": "abcde"})
    assert (few[0], together[0]) == (62.5, 56.25)
    assert np.isnan([*few[1:], *together[1:]]).all()
    assert many[1] < many[0] < many[2]


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    values, images = np.random.default_rng(1).normal(size=(2, 60)), np.repeat(np.arange(20), 3).tolist()
    whole = redrawn_means(values, images, 3000, np.random.default_rng(0))
    monkeypatch.setattr(image_clusters, "BLOCK", 20 * 777)
    assert redrawn_means(values, images, 3000, np.random.default_rng(0)) == pytest.approx(whole)


def test_very_many_images_are_drawn_less_often():
    assert number_of_draws({"a": range(300), "b": [1] * 500}) == 10_000
    assert number_of_draws({"a": range(4000)}) == 5_000
    assert number_of_draws({"a": range(40_000)}) == 1_000


def test_intervals_of_tasks_and_of_their_average():
    rng = np.random.default_rng(2)
    scores = {"a": rng.choice([0.0, 100.0], size=(2, 400)), "b": rng.choice([0.0, 100.0], size=(2, 100))}
    first, second = image_intervals(scores, {"a": list(range(400)), "b": list(range(100))})
    means = [scores[task][0].mean() for task in "ab"]
    assert [mean for mean, _, _ in first] == [*means, np.mean(means)]
    errors = [scores[task][1].std() / scores[task].shape[1] ** 0.5 for task in "ab"]
    errors.append(np.hypot(*errors) / 2)
    for (mean, low, high), error in zip(second, errors, strict=True):
        assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.6)
