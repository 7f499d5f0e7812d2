"""The benchmark of reports over many runs, on a few."""

import json
from pathlib import Path

from coin_lightning.manifest import read
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.sample_scores import SampleReader


def test_its_runs_are_sound_and_differ(script, tmp_path: Path):
    bench = script("many_runs")
    runs = bench.make_runs(tmp_path / "runs", 6, 4, "seed: 7\n")
    assert [(run / "config.yaml").read_text() for run in runs[4:]] == ["seed: 4\n", "seed: 0\n"]
    matrices = [load_matrix(run) for run in runs]
    assert len({json.dumps(matrix.protocol) for matrix in matrices}) == 2
    assert "records/gqa.jsonl" in read(runs[0] / "task_04_gqa")
    answers = [json.loads(line)["prediction"] for file in runs[0].rglob("*.jsonl")
               for line in file.read_text().splitlines()]  # fmt: skip
    assert len({answer for answer in answers if answer.startswith("wrong ")}) > 10
    reader = SampleReader()  # refuses scores that are not those of the matrix
    assert reader(matrices[0], 8, "gqa").scores.mean() == matrices[0].scores[8, 3]


def test_results(script, tmp_path: Path):
    bench = script("many_runs")
    bench.make_runs(tmp_path / "runs", 2, 2, "seed: 7\n")
    bench.main(["--folder", str(tmp_path / "runs"), "--repeats", "1", "--out", str(tmp_path / "out.json")])
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["runs"] == 2
    with_answers, without = content["results"]["with_answers"], content["results"]["without"]
    assert with_answers["seconds"] > 0
    assert with_answers["page_bytes"] > without["page_bytes"] > 10_000
    assert with_answers["peak_bytes"] > 50_000_000
