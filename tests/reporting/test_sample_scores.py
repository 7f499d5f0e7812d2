"""Scores of single samples, read from real records."""

import json
from pathlib import Path

import numpy as np
import pytest

from coin_lightning.errors import RunError
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.sample_scores import SampleReader, with_records

TASKS = ("scienceqa", "gqa")


@pytest.fixture
def run(make_run) -> RunMatrix:
    return load_matrix(make_run(tasks=TASKS, answers=12, images=False, router=False))


def records(run: RunMatrix, folder: str, task: str) -> Path:
    assert run.folder is not None
    return run.folder / folder / "records" / f"{task}.jsonl"


def test_samples_add_up_to_the_cell_and_keep_image_and_options(run):
    read = SampleReader()
    found = read(run, 2, "scienceqa")
    assert found.scores.mean() == pytest.approx(run.scores[2, 0])
    assert set(found.scores) <= {0.0, 100.0}
    assert found.questions.options == (4,) * 12
    assert found.questions.images[:3] == ("scienceqa-0", "./scienceqa/1.png", "scienceqa-2")  # even ones have no image
    assert found.questions.rule == ("corrected", 1)
    lines = [json.loads(line) for line in records(run, "task_02_gqa", "scienceqa").read_text().splitlines()]
    assert found.readable.tolist() == [line["prediction"] in "ABCD" for line in lines]
    assert read(run, 2, "gqa").questions.options is None
    assert read(run, 2, "scienceqa") is found


def test_scores_that_are_not_those_of_the_matrix_are_refused(run):
    content = json.loads((run.folder / "matrix.json").read_text())
    content["scores"][2][1] += 0.5
    (run.folder / "matrix.json").write_text(json.dumps(content))
    with pytest.raises(
        RunError, match=r"task_02_gqa: the answers to gqa score .*matrix.json says.*score the run again"
    ):
        SampleReader()(load_matrix(run.folder), 2, "gqa")


def test_flips_need_the_same_questions(run):
    read = SampleReader()
    assert read.flips(run, "scienceqa", 1, 2).count == 12
    assert read.flips(run, "gqa", 1, 2) is None  # not evaluated before its own training
    file = records(run, "task_02_gqa", "scienceqa")
    first, *others = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*others, first]))
    with pytest.raises(RunError, match="scienceqa has other questions after gqa than after scienceqa"):
        SampleReader().flips(run, "scienceqa", 1, 2)


def test_a_matrix_by_itself_has_no_records(run, tmp_path):
    assert with_records(run)
    alone = tmp_path / "lora_seed_0.json"
    alone.write_text((run.folder / "matrix.json").read_text())
    assert load_matrix(alone).folder is None
    assert not with_records(load_matrix(alone))
    with pytest.raises(RunError, match=r"a matrix\.json by itself"):
        SampleReader()(load_matrix(alone), 2, "gqa")
    for file in run.folder.glob("task_02_gqa/records/*"):
        file.unlink()
    file.parent.rmdir()
    assert not with_records(run)


def test_the_file_stands_for_its_folder(run):
    assert np.array_equal(SampleReader()(load_matrix(run.folder / "matrix.json"), 2, "gqa").scores,
                          SampleReader()(run, 2, "gqa").scores)  # fmt: skip
