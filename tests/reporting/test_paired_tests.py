"""Tests against a baseline: who is meant, what is corrected, and what the words say."""

import dataclasses

import numpy as np
import pytest

from coin_lightning.errors import ConfigError
from coin_lightning.metrics.continual import summarize
from coin_lightning.metrics.paired import PairedDifference
from coin_lightning.reporting import paired_tests as module
from coin_lightning.reporting.overview import MethodGroup, group_by_method
from coin_lightning.reporting.paired_tests import as_tables, find_baseline, paired_tests, power_line
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.sample_scores import SampleReader

TASKS = ("gqa", "imagenet")


@pytest.fixture
def groups(make_run) -> list[MethodGroup]:
    """Three methods of two seeds each; the middle one has a rank that the first has not."""
    options = {"tasks": TASKS, "answers": 20, "images": False, "router": False}
    return group_by_method([
        load_matrix(make_run(f"{method}{seed}", method=method, seed=seed, keep=keep, **options))
        for method, keep in (("lora", 0.3), ("olora", 0.6), ("moelora", 0.95)) for seed in (1, 2)
    ])  # fmt: skip


def test_a_baseline_is_a_label_or_a_method(groups):
    assert find_baseline(groups, "LoRA") is find_baseline(groups, "lora") is groups[0]
    assert find_baseline(groups, "olora") is groups[1]
    with pytest.raises(
        ConfigError, match=r"--baseline 'lorra' is none of the compared groups.*did you mean lora.*'O-LoRA'"
    ):
        find_baseline(groups, "lorra")
    narrow, wide = (dataclasses.replace(groups[0].runs[0], protocol={"adapter": f"rank {rank}"}) for rank in (8, 16))
    both = group_by_method([narrow, wide])
    with pytest.raises(
        ConfigError, match="means 2 of the compared groups; give one of 'LoRA, rank 8', 'LoRA, rank 16'"
    ):
        find_baseline(both, "lora")
    assert find_baseline(both, "lora, RANK 16").label == "LoRA, rank 16"


def test_every_other_group_is_tested_and_p_corrected(groups):
    tests = {each.key: each for each in paired_tests(groups, groups[0], SampleReader())}
    assert list(tests) == ["acc", "learning_accuracy", "bwt"]
    acc = tests["acc"]
    assert [line.label for line in acc.lines] == ["O-LoRA", "MoELoRA"]
    for line, group in zip(acc.lines, groups[1:], strict=True):
        expected = [
            summarize(a.scores)["acc"] - summarize(b.scores)["acc"]
            for a, b in zip(group.runs, groups[0].runs, strict=True)
        ]
        assert line.difference.runs == pytest.approx(expected)
        assert line.difference.p == 0.5
        assert line.adjusted == 1.0  # 2 * 0.5
    assert (
        "With 2 pairs of runs the least possible p is 0.5, 1 after correction over 2 groups: no difference could"
        in acc.least
    )
    assert "7 pairs of runs would be needed" in acc.least
    table = as_tables([acc])[0]
    assert table.title == "Final accuracy (ACC) minus that of LoRA, paired"
    (label, (points, _, adjusted)) = table.rows[1]
    assert label == "MoELoRA (2 pairs)"
    assert (points.mean, points.low, points.high) == (acc.lines[1].difference.mean, *acc.lines[1].difference.images)
    assert adjusted.text == "1"


def test_a_group_without_a_pair_is_said_to_be_not_compared(groups):
    other = MethodGroup("other", (dataclasses.replace(groups[1].runs[0], seed=9),))
    (acc, *_) = paired_tests([*groups[:2], other], groups[0], SampleReader())
    assert acc.lines[1].difference is None
    assert acc.lines[1].verdict == "not compared: no two finished runs share seed and order of tasks"
    assert "over 2 groups" not in acc.least  # what is not compared corrects nothing


def difference(low: float, high: float, runs: tuple[float, ...] = (1.0, 2.0)) -> PairedDifference:
    return PairedDifference((low + high) / 2, (low, high), runs, 0.5, 1.0)


@pytest.mark.parametrize(
    ("found", "p", "words"),
    [
        (difference(1, 3), 0.05, "higher; neither"),
        (difference(-3, -1), 0.06, "lower with these very runs"),
        (difference(-1, 3), 0.01, "more regularly than by chance, but other test images"),
        (difference(-1, 3), 0.2, "not told apart: that is no proof that they are equal"),
        (difference(0, 0, (0.0, 0.0)), 1.0, "nothing to test"),
    ],
)
def test_words_keep_runs_and_images_apart(found, p, words):
    assert words in module._verdict(found, p)


def test_power_is_that_of_the_paired_records(groups):
    """Slow and direct: differences of single answers, summed by image."""
    points = []
    for group in groups[1:]:
        variance = 0.0
        for task in TASKS:
            read = SampleReader()
            gaps = np.mean(
                [
                    read(a, 2, task).scores - read(b, 2, task).scores
                    for a, b in zip(group.runs, groups[0].runs, strict=True)
                ],
                axis=0,
            )
            images = read(group.runs[0], 2, task).questions.images
            by_image = {
                image: sum(g - gaps.mean() for g, own in zip(gaps, images, strict=True) if own == image)
                for image in images
            }
            count = len(by_image)
            variance += count / (count - 1) * sum(v**2 for v in by_image.values()) / len(gaps) ** 2
        points.append(2.801585 * variance**0.5 / 2)
    line = power_line(groups, groups[0], SampleReader())
    assert line.startswith(
        f"These test sets can tell {min(points):.1f} to {max(points):.1f} points of final accuracy apart"
    )
    assert power_line(groups[:1], groups[0], SampleReader()) == ""
