"""A run folder as typed values, whole, partial and damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coin_lightning.errors import RunError
from coin_lightning.reporting.run_artifacts import load_run

MakeRun = Callable[..., Path]


def test_whole_run(make_run: MakeRun) -> None:
    run = load_run(make_run(answers=10))
    assert list(run.finished) == list(range(9))
    assert run.folder(8).name == "task_08_ocrvqa"
    assert sorted(run.training) == list(range(1, 9))
    assert run.training[1].samples_per_second == pytest.approx(320 / 65)
    assert run.evaluation[0].task == "zero_shot"
    assert run.scorer == "corrected"
    assert len(run.records(1, "scienceqa")) == 10


def test_router_is_the_latest_and_sums_to_one(make_run: MakeRun) -> None:
    router = load_run(make_run(finished=3, answers=4)).router
    assert router is not None
    assert (router.task, router.tasks) == ("imagenet", ("scienceqa", "textvqa", "imagenet"))
    assert router.load.shape == (3, 60, 8)
    np.testing.assert_allclose(router.load.sum(axis=2), 1)
    assert load_run(make_run("plain", router=False, answers=4)).router is None


def test_partial_run_has_only_finished_rows(make_run: MakeRun) -> None:
    run = load_run(make_run(finished=0, answers=4))
    assert list(run.finished) == [0]
    assert run.training == {}
    assert list(load_run(make_run("nothing", finished=-1)).finished) == []


def test_a_missing_matrix_is_named_and_a_missing_environment_says_less(make_run: MakeRun) -> None:
    root = make_run(answers=4, finished=1)
    (root / "environment.json").unlink()
    assert load_run(root).environment == {}
    (root / "environment.json").write_text("{")
    with pytest.raises(RunError, match=r"environment\.json: .*restore or remove it"):
        load_run(root)
    (root / "matrix.json").unlink()
    with pytest.raises(RunError, match=r"matrix\.json: is missing"):
        load_run(root)


def test_damage_is_named_when_it_is_read(make_run: MakeRun) -> None:
    root = make_run(answers=4, finished=1)
    folder = root / "task_01_scienceqa"
    (folder / "train.json").write_text('{"task": "scienceqa"}', encoding="utf-8")
    (folder / "router.json").write_text('{"num_experts": 2, "layers": ["l"], "load": {"a": [[1]]}}', encoding="utf-8")
    (folder / "records" / "scienceqa.jsonl").write_text('{"prompt": "p", "prediction": 3}', encoding="utf-8")
    with pytest.raises(RunError, match=r"train\.json: field 'steps'"):
        _ = load_run(root).training
    with pytest.raises(RunError, match=r"router\.json: field 'load' must hold 1 rows of 2"):
        _ = load_run(root).router
    with pytest.raises(RunError, match=r"scienceqa\.jsonl: record 1: field 'prediction' is 3"):
        load_run(root).records(1, "scienceqa")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        load_run(tmp_path / "nowhere")
