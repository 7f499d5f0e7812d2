"""Pairs of runs: sample by sample the differences add up to those of the metrics."""

import json

import numpy as np
import pytest

from coin_lightning.errors import RunError
from coin_lightning.metrics.continual import summarize
from coin_lightning.reporting.paired_runs import QUANTITIES, paired_runs, pairs, samples
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.sample_scores import SampleReader

TASKS = ("scienceqa", "gqa", "imagenet")


@pytest.fixture
def methods(make_run) -> dict[str, list[RunMatrix]]:
    """Two seeds in one order and one in another, of two methods; the first has a seed more."""

    def run(method: str, keep: float, seed: int, tasks: tuple[str, ...]) -> RunMatrix:
        name = f"{method}{seed}{tasks[0]}"
        options = {"answers": 20, "images": False, "router": False}
        return load_matrix(make_run(name, tasks=tasks, method=method, seed=seed, keep=keep, **options))

    shared = [(1, TASKS), (2, TASKS), (1, TASKS[::-1])]
    return {
        "ours": [run("moelora", 0.9, seed, tasks) for seed, tasks in [*shared, (3, TASKS)]],
        "theirs": [run("lora", 0.5, seed, tasks) for seed, tasks in shared],
    }


def metric(run: RunMatrix, key: str) -> float:
    return summarize(run.scores)[key]


@pytest.mark.parametrize("key", QUANTITIES)
def test_differences_are_those_of_the_metrics(methods, key):
    ours, theirs = methods["ours"], methods["theirs"]
    (found,) = paired_runs([ours], theirs, key, SampleReader())
    expected = [metric(ours[at], key) - metric(theirs[at], key) for at in range(3)]
    assert found.runs == pytest.approx(expected)
    assert found.mean == pytest.approx(np.mean(expected))


def test_only_runs_of_one_seed_and_order_are_pairs(methods):
    found = pairs(methods["ours"], methods["theirs"][1:])
    assert [(a.seed, a.tasks, b.seed, b.tasks) for a, b in found] == [
        (2, TASKS, 2, TASKS),
        (1, TASKS[::-1], 1, TASKS[::-1]),
    ]
    assert paired_runs([methods["ours"][3:]], methods["theirs"], "acc", SampleReader()) == [None]


def test_what_a_run_does_not_define_is_none(make_run):
    read = SampleReader()
    half = load_matrix(make_run("half", tasks=TASKS, finished=2, answers=8, images=False))
    assert samples(half, "acc", read) is None
    alone = load_matrix(make_run("alone", tasks=("gqa",), answers=8, images=False))
    assert samples(alone, "bwt", read) is None
    assert samples(alone, "acc", read)["gqa"][0].mean() == alone.scores[1, 0]


def test_other_rules_or_other_samples_are_not_paired(methods):
    ours, theirs = methods["ours"][0], methods["theirs"][0]
    file = theirs.folder / "task_03_imagenet" / "scores.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "scorer": "reference"}))
    with pytest.raises(RunError, match="gqa: the runs have other test samples, or other rules for them"):
        paired_runs([[ours]], [theirs], "acc", SampleReader())
