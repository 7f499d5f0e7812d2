"""The benchmark of sweeps: its first step is a real one, its figures follow from what sweeps took."""

import json

import pytest


def test_results(script, tmp_path, monkeypatch):
    bench = script("sweep")
    monkeypatch.setattr(bench, "EXPERIMENT", [*bench.EXPERIMENT, "scenario.order=[gqa]"])
    taken = iter([60.0, 4.0, 2.0])  # the grid, then all of it and one of it again

    def sweep(folder, seeds):
        for seed in range(seeds):
            (folder / str(seed)).mkdir(parents=True, exist_ok=True)
            cost = {"cost": {"train_seconds": 10.0, "evaluation_seconds": 5.0}}
            (folder / str(seed) / "matrix.json").write_text(json.dumps(cost))
        return next(taken)

    monkeypatch.setattr(bench, "sweep", sweep)
    bench.main(["--runs", "3", "--repeats", "1", "--out", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())["results"]
    assert 1 < found["first_step"] < 100
    assert (found["runs_inside"], found["grid"], found["skipped"]) == (45.0, 60.0, 1.0)
    assert found["grid_over_runs"] == pytest.approx(60 / (45 + found["first_step"]))
