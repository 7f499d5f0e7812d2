"""Runs below folders as tables, on run folders as the training command leaves them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from coin_lightning.errors import RunError
from coin_lightning.results import describe, differing, find_runs, load, load_metrics
from reporting.fake_run import build_run

TASKS = ("imagenet", "gqa", "vizwiz")


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Two ranks with two seeds each, the last one not finished."""
    for rank in (8, 16):
        for seed in (1, 2):
            run = build_run(
                tmp_path / "grid" / f"rank={rank}" / f"seed_{seed}", TASKS, seed=seed, answers=20,
                finished=1 if (rank, seed) == (16, 2) else None, images=False,
            )  # fmt: skip
            tasks = {task: {"name": task, "batches": {"size": 4}, "data": {"root": f"/{rank}"}} for task in TASKS}
            scenario = {"tasks": tasks, "order": list(TASKS), "order_seed": seed}
            config = {"adapter": {"rank": rank, "dropout": 0.0}, "seed": seed, "scenario": scenario}
            (run / "config.yaml").write_text(yaml.safe_dump(config | {"paths": {"runs": f"/{rank}"}}))
    return tmp_path / "grid"


def test_runs_are_found_once_wherever_they_lie(grid: Path):
    runs = find_runs([grid])
    assert [str(run.relative_to(grid)) for run in runs] == [
        "rank=16/seed_1", "rank=16/seed_2", "rank=8/seed_1", "rank=8/seed_2",
    ]  # fmt: skip
    assert find_runs([grid / "rank=8", grid, runs[2]]) == [runs[2], runs[3], runs[0], runs[1]]
    assert find_runs([runs[0] / "matrix.json"]) == [runs[0] / "matrix.json"]
    with pytest.raises(RunError, match="nowhere: no such folder; name run folders"):
        find_runs([grid / "nowhere"])


def test_what_differs_is_neither_the_seed_nor_what_follows_from_it_nor_a_place(grid: Path):
    entries = [describe(run) for run in find_runs([grid])]
    assert differing(entries) == ["adapter.rank"]
    assert [entry.config["adapter.rank"] for entry in entries] == [16, 16, 8, 8]


def test_what_happens_to_equal_the_seed_does_not_follow_from_it(grid: Path):
    for number, run in enumerate(find_runs([grid / "rank=8"])):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["scenario"]["order_seed"] = number
        config |= {"seed": number, "data": {"subset_seed": number}, "optimizer": {"fused": bool(number), "lr": number}}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert differing([describe(run) for run in find_runs([grid / "rank=8"])]) == ["optimizer.fused", "optimizer.lr"]


def test_what_a_task_has_of_its_own_tells_runs_apart_and_what_a_group_tells_does_not(grid: Path):
    for number, run in enumerate(find_runs([grid / "rank=8"])):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config |= {"batches": {"epochs": 3 + number}}
        for task, node in config["scenario"]["tasks"].items():
            node["batches"] |= {"epochs": 3 + number, "size": 8 * number if task == "gqa" else 4}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    entries = [describe(run) for run in find_runs([grid / "rank=8"])]
    assert differing(entries) == ["batches.epochs", "scenario.tasks.gqa.batches.size"]


def test_states(grid: Path):
    whole, half = describe(grid / "rank=8/seed_1"), describe(grid / "rank=16/seed_2")
    assert (whole.state, whole.done, whole.of, whole.where) == ("finished", 4, 4, "")
    assert (half.state, half.done, half.of, half.where) == ("stopped", 2, 4, "task_02_gqa")
    folder = grid / "rank=16/seed_2" / "task_02_gqa"
    folder.mkdir()
    (folder / "last.ckpt").touch()
    assert describe(half.path).where == "in task_02_gqa"
    (half.path / "failed.json").write_text(json.dumps({"error": "the disk is full"}))
    assert (describe(half.path).state, describe(half.path).reason) == ("failed", "the disk is full")
    (half.path / "matrix.json").write_text("[]")
    assert describe(half.path).state == "foreign"
    assert "holds a list" in describe(half.path).reason


def test_a_frame_holds_every_cell_with_what_it_is_compared_with(grid: Path):
    frame = load(grid)
    assert list(frame.index.names) == ["run", "position", "task"]
    run = str(grid / "rank=8" / "seed_1")
    matrix = json.loads((Path(run) / "matrix.json").read_text())
    cells = [(k, t) for k, row in enumerate(matrix["scores"]) for t, score in enumerate(row) if score is not None]
    assert len(frame.loc[run]) == len(cells) == 3 + 1 + 2 + 3
    for k, t in cells:
        record = frame.loc[(run, k, TASKS[t])]
        assert record["score"] == matrix["scores"][k][t]
        assert record["count"] == 20
        assert record["zero_shot"] == matrix["scores"][0][t]
        assert record["own"] == matrix["scores"][t + 1][t]
        expected = np.nan if k == 0 else record["score"] - (record["own"] if k > t + 1 else record["zero_shot"])
        np.testing.assert_equal(record["change"], expected)
    assert set(frame["adapter.rank"]) == {8, 16}
    assert frame.loc[(run, 2, "gqa"), "after"] == "gqa"
    assert frame.loc[(run, 0, "gqa"), "after"] == "zero_shot"


def test_metrics_are_those_of_the_files(grid: Path):
    frame = load_metrics([grid / "rank=8", grid / "rank=16" / "seed_1" / "matrix.json"])
    assert len(frame) == 3
    run = grid / "rank=8" / "seed_2"
    matrix = json.loads((run / "matrix.json").read_text())
    assert frame.loc[str(run), "acc"] == matrix["metrics"]["acc"]
    assert frame.loc[str(run), "seconds"] == matrix["cost"]["train_seconds"] + matrix["cost"]["evaluation_seconds"]
    assert frame.loc[str(run), "bytes"] == sum(file.stat().st_size for file in run.rglob("*") if file.is_file())


def test_a_run_that_cannot_be_read_is_an_error_and_not_left_out(grid: Path):
    (grid / "rank=8" / "seed_1" / "matrix.json").write_text("{")
    with pytest.raises(RunError, match=r"seed_1/matrix.json: cannot be read as JSON"):
        load(grid)


def test_folders_without_scores_are_an_error(tmp_path: Path):
    with pytest.raises(RunError, match="no run that has been evaluated"):
        load(tmp_path)


def test_a_matrix_in_a_run_folder_has_its_config_and_counts_once(grid: Path, monkeypatch: pytest.MonkeyPatch):
    run = grid / "rank=8" / "seed_1"
    one = load([run / "matrix.json", grid / "rank=16" / "seed_1" / "matrix.json"])
    assert dict(one.groupby("run")["adapter.rank"].first()) == {
        str(run / "matrix.json"): 8, str(grid / "rank=16" / "seed_1" / "matrix.json"): 16,
    }  # fmt: skip
    monkeypatch.chdir(grid)
    assert find_runs(["rank=8/seed_1/matrix.json", grid, "rank=8"]) == find_runs([grid])
    assert len(load([run / "matrix.json", "rank=8", grid])) == len(load(grid))


def test_matrices_by_themselves_differ_by_their_protocol(grid: Path, tmp_path: Path):
    files = []
    for rank, name in ((8, "ours"), (16, "theirs")):
        content = json.loads((grid / "rank=8" / "seed_1" / "matrix.json").read_text())
        content["protocol"] |= {"adapter": f"rank {rank}"}
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(content))
    frame = load(files)
    assert set(frame.columns) & {"protocol/adapter", "protocol/projector", "adapter.rank"} == {"protocol/adapter"}
    assert dict(frame["protocol/adapter"].groupby("run").first()) == {
        str(files[0]): "rank 8", str(files[1]): "rank 16",
    }  # fmt: skip
    assert list(load_metrics(files)["protocol/adapter"]) == ["rank 8", "rank 16"]
    (tmp_path / "other.json").write_text('{"tasks": []}')
    with pytest.raises(RunError, match=r"other.json: field 'tasks' is \[\]"):
        load([*files, tmp_path / "other.json"])


def test_what_follows_from_the_machine_is_a_column_where_it_differs(grid: Path, tmp_path: Path):
    """Keys of devices are free, so two runs with equal configs may have learned with unlike batches."""
    shutil.copytree(grid, tmp_path / "runs")
    assert not [name for name in load(tmp_path / "runs").columns if name.startswith("protocol/")]
    file = tmp_path / "runs" / "rank=8" / "seed_1" / "matrix.json"
    for path in (tmp_path / "runs").rglob("matrix.json"):
        content = json.loads(path.read_text())
        content["protocol"] |= {"global_batch": "8" if path == file else "4", "precision": "bf16-mixed", "batch": "x"}
        path.write_text(json.dumps(content))
    frame = load_metrics(tmp_path / "runs")
    assert [name for name in frame.columns if name.startswith("protocol/")] == ["protocol/global_batch"]
    assert sorted(frame["protocol/global_batch"]) == ["4", "4", "4", "8"]


def test_the_frame_is_a_cube(grid: Path):
    cube = load(grid).to_xarray()
    assert dict(cube.sizes) == {"run": 4, "position": 4, "task": 3}
    run = str(grid / "rank=16" / "seed_1")
    matrix = json.loads((Path(run) / "matrix.json").read_text())
    scores = np.array([[np.nan if cell is None else cell for cell in row] for row in matrix["scores"]])
    np.testing.assert_equal(cube["score"].sel(run=run, task=list(TASKS)).values, scores)
    assert cube["score"].sel(run=run).mean("task").sizes == {"position": 4}
