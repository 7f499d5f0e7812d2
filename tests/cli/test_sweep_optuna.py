"""Optuna chooses the members: by one metric or several, with a study that a restart finds, and pruning on the way."""

import json
import os
from pathlib import Path

import pytest
from filelock import FileLock

from coin_lightning.cli.trial import PRUNED, VARIABLE, PrunedError, report, storage_of
from coin_lightning.reporting.run_matrix import RunMatrix, parse_matrix

optuna = pytest.importorskip("optuna")
SWEEPER = "hydra/sweeper=optuna_search"


def search(place, folder: Path, *words: str) -> list[str]:
    """Words of a search over a rate and the experts."""
    small = ("batches.epochs=1", "data.limit_test=1", "data.limit_train=4", "evaluation=full")
    kept = place.command("unused", *small, *words, tasks="gqa,vqav2")
    kept = [word for word in kept if not word.startswith(("run_dir=", "optimizer.lr="))]
    space = ("optimizer.lr=tag(log,interval(1e-3,1e-1))", "adapter.num_experts=2,4")
    return ["-m", *kept, *space, SWEEPER, f"paths.runs='{folder}'", "experiment_name=swept"]


def study_in(folder: Path) -> "optuna.Study":
    return optuna.load_study(study_name=None, storage=storage_of(folder / "swept" / "optuna.jsonl"))


def test_a_restart_goes_on_with_the_study_and_the_trial_that_a_kill_has_ended(place, tmp_path: Path):
    tmp_path = tmp_path / "größer"
    words = search(place, tmp_path, "sweep.objective=acc", "hydra.sweeper.prune_after=9")
    fail = ("+callbacks.fail._target_=probes.FailAt", "+callbacks.fail.step=1")
    status, text = place.runs.run([*words, *fail, "hydra.sweeper.trials=1"])
    assert status == 1, text
    assert "ZeroDivisionError: a bug in a callback" in text
    assert "none of 1 trials has a result" in text
    status, text = place.runs.run([*words, "hydra.sweeper.trials=1"])  # the one that has failed, again
    assert status == 0, text
    study = study_in(tmp_path)
    failed, first = study.trials
    assert [failed.state.name, first.state.name] == ["FAIL", "COMPLETE"]
    assert failed.params == first.params
    left = study.ask({name: first.distributions[name] for name in first.params})  # nobody tells how it ended
    status, text = place.runs.run([*words, "hydra.sweeper.trials=3"])
    assert status == 0, text
    trials = study_in(tmp_path).trials[1:]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[2].params == left.params
    assert trials[3].params not in [trial.params for trial in trials[:3]]  # no draw is repeated
    metrics = {json.dumps(json.loads(file.read_text())["acc"]) for file in tmp_path.rglob("metrics.json")}
    assert {json.dumps(trial.value) for trial in trials if trial.value is not None} == metrics
    assert len(list(tmp_path.rglob("matrix.json"))) == 3
    assert "best of 3 trials:\n  acc " in text
    for again in (False, True):  # page and table are whole, also when all were there already
        if again:
            status, text = place.runs.run([*words, "hydra.sweeper.trials=3"])
            assert status == 0, text
        page = (tmp_path / "swept" / "sweep_lr_num_experts.html").read_text()
        assert "best of 3 trials:" in page
        assert "3 of 3 runs are finished" in page
        assert text.rpartition("disk")[2].count("/seed_0\n") == 3
    assert len(study_in(tmp_path).trials) == 5


def test_several_objectives_have_a_front(place, tmp_path: Path):
    words = search(place, tmp_path, "sweep.objective=[acc,forgetting]", "hydra.sweeper.trials=2")
    status, text = place.runs.run(words)
    assert status == 0, text
    assert [direction.name for direction in study_in(tmp_path).directions] == ["MAXIMIZE", "MINIMIZE"]
    assert "front of 2 trials:\n  acc " in text
    assert ", forgetting " in text.rpartition("front of")[2]
    study = study_in(tmp_path)
    file = tmp_path / "swept" / "optuna.jsonl"
    with FileLock(f"{file}.{study._study_id}.lock"):  # as a search holds it
        status, text = place.runs.run(words)
    assert status == 1
    assert "another search is working on these values; wait for it" in text
    # another one that shares the keys shares no trial, but one that only logs elsewhere does
    own = tmp_path / "conf" / "experiment" / "mine.yaml"
    own.parent.mkdir(parents=True)
    for more, decay, known in (
        ("adapter.alpha=4", 0.1, 2), ("logger=tensorboard", 0.1, 2), ("+experiment=mine", 0.1, 3),
        ("+experiment=mine", 0.2, 4),
    ):  # fmt: skip
        own.write_text(f"# @package _global_\noptimizer: {{weight_decay: {decay}, lr: {decay}}}\n")
        told = (f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "hydra.sweeper.trials=0")
        status, text = place.runs.run([*words[:-3], more, *words[-3:], *told])
        assert status == 0, text
        names = [each.study_name for each in optuna.get_all_study_summaries(storage_of(file))]
        assert len(names) == known
    assert study.study_name in names


def test_a_trial_behind_others_ends_after_its_task(place, tmp_path: Path):
    words = search(place, tmp_path, "sweep.objective=acc", "hydra.sweeper.prune_after=1")
    status, text = place.runs.run([*words, "hydra.sweeper.trials=1"])
    assert status == 0, text
    study = study_in(tmp_path)
    better = optuna.trial.create_trial(
        params=study.trials[0].params, distributions=study.trials[0].distributions, value=101.0,
        intermediate_values={1: 101.0},
    )  # fmt: skip
    for _ in range(3):
        study.add_trial(better)
    status, text = place.runs.run([*words, "hydra.sweeper.trials=5"])
    assert status == 0, text
    assert study_in(tmp_path).trials[-1].state.name == "PRUNED"
    assert "1 of 2 members were ended early:" in text
    assert "pruned after gqa: other trials were better there" in text
    page = (tmp_path / "swept" / "sweep_lr_num_experts.html").read_text()
    assert "1 of 2 runs are finished." in page
    assert " ended early</td>" in page
    status, text = place.runs.run(["runs", str(tmp_path), "--rerun-failed"], COLUMNS="300")
    assert status == 0, text
    assert "ended early, 2/3 task_02_vqav2" in text
    assert "again: " not in text
    assert sorted(len(list(file.parent.glob("task_*/scores.json"))) for file in tmp_path.rglob("command.json")) == [
        2,
        3,
    ]


def test_what_is_looked_for_must_be_a_metric(place, tmp_path: Path):
    for words, message in (
        ((), "error: hydra/sweeper=optuna_search needs sweep.objective=acc"),
        (("sweep.objective=acccc",), "error: sweep.objective=acccc: there is no such metric; did you mean acc?"),
    ):
        status, text = place.runs.run(search(place, tmp_path, *words))
        assert status == 1
        assert message in text
        assert "Traceback" not in text


def of_three_tasks() -> RunMatrix:
    scores = [[0, 0, 0], [80, 0, 0], [40, 60, 0], [10, 20, 90]]
    facts = {"metrics": {}, "protocol": {}, "cost": {}, "notes": [], "experiment": "e", "method": "m", "backbone": "b"}
    return parse_matrix({"tasks": ["a", "b", "c"], "scores": scores, "counts": [[4] * 3] * 4, "seed": 0, **facts})


def test_reports_are_means_over_the_tasks_so_far(tmp_path: Path, monkeypatch):
    """Rows of three tasks by hand: after the second, (40 + 60) / 2; a loss of 80 - 40."""
    matrix = of_three_tasks()
    for direction, wanted in (("maximize", {1: 80.0, 2: 50.0}), ("minimize", {2: 40.0})):
        file = tmp_path / f"{direction}.jsonl"
        study = optuna.create_study(study_name="s", storage=storage_of(file), direction=direction)
        trial = study.ask()
        monkeypatch.setenv(VARIABLE, json.dumps({"file": str(file), "study": "s", "number": trial.number, "after": 0}))
        for row in (0, 1, 2, 3):
            report(matrix, row)
        assert study.trials[0].intermediate_values == wanted
        again = json.loads(os.environ[VARIABLE]) | {"number": study.ask().number}
        monkeypatch.setenv(VARIABLE, json.dumps(again))
        study.tell(1, state=optuna.trial.TrialState.FAIL)  # by a start that took it for killed, while its job went on
        report(matrix, 2)
    assert PRUNED not in study.trials[0].user_attrs


@pytest.mark.parametrize(
    ("direction", "others", "pruned"),
    [
        ("maximize", {1: 45.0, 2: 51.0}, 2), ("maximize", {1: 45.0, 2: 49.0}, None), ("maximize", {1: 81.0}, 1),
        ("minimize", {2: 39.0}, 2), ("minimize", {2: 41.0}, None),
    ],
)  # fmt: skip
def test_a_trial_is_compared_by_where_it_stands_and_not_by_its_best(tmp_path, monkeypatch, direction, others, pruned):
    """80 behind the first task and 50 behind the second: mean scores fall, and losses rise, along every sequence."""
    matrix = of_three_tasks()
    study = optuna.create_study(study_name="s", storage=storage_of(tmp_path / "s.jsonl"), direction=direction)
    for shift in (-1, 0, 1):
        values = {step: value + shift for step, value in others.items()}
        study.add_trial(optuna.trial.create_trial(value=1.0, intermediate_values=values))
    trial = study.ask()
    told = {"file": str(tmp_path / "s.jsonl"), "study": "s", "number": trial.number, "after": 3}
    monkeypatch.setenv(VARIABLE, json.dumps(told))
    ended = None
    for row in (1, 2):
        try:
            report(matrix, row)
        except PrunedError:
            ended = row
            break
    assert ended == pruned
    monkeypatch.setenv(VARIABLE, json.dumps({**told, "number": study.ask().number, "after": 4}))
    report(matrix, 2)  # only three have come to their end
