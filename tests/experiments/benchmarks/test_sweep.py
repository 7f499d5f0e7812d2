"""The benchmark of sweeps, on a grid of two."""

import json


def test_results(script, tmp_path, monkeypatch):
    bench = script("sweep")
    monkeypatch.setattr(bench, "EXPERIMENT", [*bench.EXPERIMENT, "scenario.order=[gqa]"])
    bench.main(["--runs", "2", "--repeats", "1", "--out", str(tmp_path / "out.json")])
    content = json.loads((tmp_path / "out.json").read_text())
    found, ((again, single),) = content["results"], content["each"]["again"]
    assert 0 < found["first_step"] < found["grid"]
    assert 0 < found["runs_inside"] < found["grid"]
    assert found["grid_over_runs"] == found["grid"] / (found["runs_inside"] + found["first_step"])
    assert again < found["grid"]  # finished runs are not run again
    assert found["skipped"] == again - single
