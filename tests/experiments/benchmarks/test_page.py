"""The benchmark of the page on a made-up run of two tasks."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "reporting"))

from fake_run import add_judge, add_variants, build_run

from coin_lightning.manifest import record


def test_a_run_is_as_it_was_after_an_experience(script, tmp_path: Path):
    run = build_run(tmp_path / "run", tasks=("gqa", "vqav2"), images=False)
    add_judge(run)
    add_variants(run)
    script("page").cut(run, 1)
    matrix = json.loads((run / "matrix.json").read_text())
    for section in (matrix, matrix["judges"]["embedding"], matrix["variants"]["reference"]):
        assert [any(cell is not None for cell in row) for row in section["scores"]] == [True, True, False]
    assert matrix["counts"][2] == matrix["differing"][2] == [None, None]


def test_results(script, tmp_path: Path):
    run = build_run(tmp_path / "run", tasks=("gqa", "vqav2"), answers=4)
    record(run, [run / "matrix.json"])  # as a run knows it: what is cut by hand would be refused
    before = (run / "matrix.json").read_bytes()
    script("page").main(["--run", str(run), "--repeats", "1", "--out", str(tmp_path / "out.json")])
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert results["tasks"] == 2
    assert [*results["after"]] == ["0", "1"]
    assert 0 < results["after_an_experience"] < results["whole"] < results["pages_of_a_run"]
    assert (run / "matrix.json").read_bytes() == before, "the run itself is not touched"
