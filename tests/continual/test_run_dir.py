"""The run folder: who may write to it, and how its files become a matrix."""

import json
import os
from pathlib import Path

import pytest
import yaml

from coin_lightning.continual.environment import environment, same_data
from coin_lightning.continual.run_dir import RunDir, differences
from coin_lightning.errors import RunError
from coin_lightning.run_files import read_json
from coin_lightning.whole_files import write_json

CONFIG = {
    "seed": 0,
    "adapter": {"rank": 8, "alpha": 16},
    "paths": {"runs": "/a"},
    "run_dir": "/a/run",
    "data": {"root": "/a/data"},
    "batches": {"num_workers": 0},
    "scenario": {"order": "coin", "tasks": {"gqa": {"data": {"root": "/a/data", "source": {"path": "/a"}}}}},
    "logger": {"csv": {"x": 1}},
}


def finished(run: RunDir, index: int, scores: dict[str, float]) -> None:
    counts = dict.fromkeys(scores, 4)
    write_json(run.folder(index) / "scores.json", {"scores": scores, "counts": counts, "seconds": 2.0})


def trained(run: RunDir, index: int, seconds: float, size: int) -> None:
    sizes = {"trainable_parameters": 7, "checkpoint_bytes": size, "peak_memory_bytes": size * 2}
    write_json(run.folder(index) / "train.json", {"seconds": seconds, "steps": 3, **sizes})


def test_differences_name_key_and_both_values():
    old = {"a": {"b": 1, "c": [1, 2]}, "d": None}
    new = {"a": {"b": 2, "c": [1, 2]}, "e": "x"}
    assert list(map(str, differences(old, new))) == ["  a.b: 1 -> 2", "  e: None -> 'x'"]
    assert differences(old, old) == []


def test_keys_that_change_no_result_are_free():
    moved = json.loads(json.dumps(CONFIG).replace("/a", "/b"))
    moved["logger"] = {"wandb": {}}
    moved["batches"]["num_workers"] = 4
    assert differences(CONFIG, moved) == []
    moved["scenario"]["order"] = "reversed"
    assert list(map(str, differences(CONFIG, moved))) == ["  scenario.order: 'coin' -> 'reversed'"]


def test_a_started_run_refuses_another_config_with_the_difference(tmp_path: Path):
    run = RunDir(tmp_path / "run", ["a"])
    run.claim(CONFIG)
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == CONFIG
    finished(run, 0, {"a": 1.0})
    before = (run.path / "config.yaml").read_bytes()
    run.claim({**CONFIG, "paths": {"runs": "/elsewhere"}})
    with pytest.raises(RunError, match=r"adapter\.rank: 8 -> 16\n.*experiment_name="):
        run.claim({**CONFIG, "adapter": {"rank": 16, "alpha": 16}})
    assert (run.path / "config.yaml").read_bytes() == before


def test_before_any_result_the_config_may_be_mended(tmp_path: Path):
    run = RunDir(tmp_path / "run", ["a"])
    run.claim(CONFIG)
    run.folder(0).mkdir()
    run.claim({**CONFIG, "seed": 1})
    assert yaml.safe_load((run.path / "config.yaml").read_text())["seed"] == 1


def test_changed_data_are_refused_once_a_run_has_started(tmp_path: Path):
    run = RunDir(tmp_path, ["a", "b"])
    data = {name: {"folder": "/x", "train": 1, "test": 1, "sha256": {"train.json": name * 3}} for name in ("a", "b")}
    changed = {**data, "b": {**data["b"], "sha256": {"train.json": "other"}}}
    run.claim_data(data)
    run.claim_data(changed)  # nothing was computed yet
    finished(run, 0, {"a": 1.0, "b": 2.0})
    run.claim_data({name: {**entry, "folder": "/moved"} for name, entry in changed.items()})
    with pytest.raises(RunError, match="the data of b changed"):
        run.claim_data(data)


def test_scorers_may_not_change_under_one_version(tmp_path: Path):
    run = RunDir(tmp_path, ["a"])

    def config(version: int, **scorers: str) -> dict:
        nodes = {name: {"_target_": target} for name, target in scorers.items()}
        return {**CONFIG, "scenario": {"tasks": {"a": {"name": "a", "version": version, "scorers": nodes}}}}

    run.claim(config(1, corrected="mine.exact"))
    finished(run, 0, {"a": 1.0})
    run.claim(config(1, corrected="mine.exact", further="mine.loose"))
    with pytest.raises(
        RunError, match=r"a was scored by another corrected scorer, .*mine\.exact.* and not .*mine\.loose"
    ):
        run.claim(config(1, corrected="mine.loose"))
    with pytest.raises(RunError, match="scored by version 1 of its scorers, and the config has version 2"):
        run.claim(config(2, corrected="mine.loose"))


def test_where_the_data_lie_is_told_from_other_free_keys(tmp_path: Path):
    run = RunDir(tmp_path, ["a"])
    run.claim(CONFIG)
    assert run.has_data_of({**CONFIG, "logger": {}, "paths": {"runs": "/b"}, "batches": {"num_workers": 3}})
    assert not run.has_data_of({**CONFIG, "data": {"root": "/b"}})
    moved = json.loads(json.dumps(CONFIG).replace('"path": "/a"', '"path": "/b"'))
    assert not run.has_data_of(moved)


def test_what_a_run_was_begun_with_stays_and_what_it_went_on_with_is_told(tmp_path: Path, monkeypatch):
    run = RunDir(tmp_path, ["a"])
    data = {"a": {"folder": "/x", "train": 1, "test": 1, "sha256": {"train.json": "x"}}}
    run.claim_data(data)
    before = read_json(tmp_path / "environment.json")
    finished(run, 0, {"a": 1.0})
    run.claim_data(data)
    assert read_json(tmp_path / "environment.json") == before
    assert run.change_notes() == []
    other = {**before, "git": "abc", "machine": {**before["machine"], "device": "cuda"}}
    monkeypatch.setattr("coin_lightning.continual.run_dir.environment", lambda data: {**other, "data": data})
    run.claim_data({"a": {**data["a"], "folder": "/y"}})
    run.claim_data(data)  # nothing new
    content = read_json(tmp_path / "environment.json")
    assert {key: content[key] for key in ("versions", "git", "machine")} == {
        key: before[key] for key in ("versions", "git", "machine")
    }
    assert content["later"] == [{"at": "task_01_a", "git": "abc", "machine": {"device": "cuda"}}]
    assert run.change_notes() == [
        "The run was continued from task_01_a on with something else than it was begun with: commit abc, device cuda."
    ]


def test_a_run_does_not_go_on_in_another_precision(tmp_path: Path):
    run = RunDir(tmp_path, ["a"])
    run.check_model({"precision": "32-true"})  # it has not begun
    finished(run, 0, {"a": 1.0})
    run.write_summary({"protocol": {"precision": "bf16-mixed"}})
    run.check_model({"precision": "bf16-mixed"})
    with pytest.raises(RunError, match=r"was begun in precision bf16-mixed, and trainer\.precision=auto is 32-true on"):
        run.check_model({"precision": "32-true"})
    run.write_summary({"protocol": {}})  # of an older run nobody knows
    run.check_model({"precision": "32-true"})


def test_the_model_is_known_before_the_first_scores(tmp_path: Path):
    """Answers of a row that a kill has cut are kept; their precision stood in no file, nor did the model itself."""
    half, whole = ({"precision": name, "dtype": dtype, "fingerprint": "ab"} for name, dtype in
                   (("bf16-mixed", "bfloat16"), ("32-true", "float32")))  # fmt: skip
    run, data = RunDir(tmp_path, ["a"]), {"a": {"sha256": {"train.json": "x"}}}
    run.claim_data(data)
    run.claim_model(whole)
    run.claim_model(half)  # nothing was computed yet
    (run.folder(0) / "records").mkdir(parents=True)
    (run.folder(0) / "records" / "a.jsonl.partial").touch()
    for other, message in (
        (whole, "was begun in precision bf16-mixed, and trainer"),
        ({**half, "dtype": "float32"}, r"was begun in dtype bfloat16, and backbone\.dtype=auto is float32 on"),
        ({**half, "fingerprint": "cd"}, r"on a base model of other weights \(fingerprint ab, now cd\), .* restore"),
    ):
        with pytest.raises(RunError, match=message):
            run.claim_model(other)
    run.claim_data(data)
    run.claim_model({**half, "fingerprint": None})  # in pieces
    file = tmp_path / "environment.json"
    content = read_json(file)
    assert content.pop("model") == half
    write_json(file, content)  # as older runs have it
    run.claim_model(whole)
    assert read_json(file)["model"] == whole


def test_runs_that_knew_fewer_files_have_the_same_data(tmp_path: Path):
    run = RunDir(tmp_path, ["a"])
    run.claim_data({"a": {"sha256": {"train.json": "x"}}})
    finished(run, 0, {"a": 1.0})
    run.check_data({"a": {"sha256": {"train.json": "x", "truth.json": "y"}}})
    for other in ({"train.json": "z", "truth.json": "y"}, {"truth.json": "y"}, {}):
        with pytest.raises(RunError, match="the data of a changed"):
            run.check_data({"a": {"sha256": other}})


def test_other_images_under_the_same_questions_are_other_data(tmp_path: Path):
    entry = {"train": 8, "test": 4, "sha256": {"train.json": "x"}, "images": {"train": "p", "test": "q"}}
    run = RunDir(tmp_path, ["a"])
    run.claim_data({"a": entry})
    finished(run, 0, {"a": 1.0})
    run.claim_data({"a": entry})
    run.check_data({"a": {"sha256": entry["sha256"]}})  # of runs by older code, or not looked at
    for other in ({"train": "p", "test": "z"}, {"train": "z"}):
        with pytest.raises(RunError, match="the data of a changed"):
            run.check_data({"a": {**entry, "images": other}})
    assert same_data(entry, {**entry, "train": 4, "images": {"train": "other", "test": "q"}})  # of fewer samples


def test_other_rows_are_refused_once_a_run_has_started(tmp_path: Path):
    run = RunDir(tmp_path, ["a"])
    subsets = {"a": {"train": {"of": 9, "ids": None}, "test": {"of": 9, "ids": ["1", "2"]}}}
    other = {"a": {**subsets["a"], "test": {"of": 9, "ids": ["1", "3"]}}}
    run.claim_subsets(other)
    run.claim_subsets(subsets)  # nothing was computed yet
    assert read_json(tmp_path / "subsets.json") == subsets
    finished(run, 0, {"a": 1.0})
    run.claim_subsets(subsets)
    with pytest.raises(RunError, match="other samples of a would be used"):
        run.claim_subsets(other)
    assert read_json(tmp_path / "subsets.json") == subsets


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "deep" / "x.json"
    write_json(file, {"a": 1})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_json(file, {"a": 2})
    assert read_json(file) == {"a": 1}


def test_no_number_that_json_does_not_know_is_written(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_a_broken_file_is_named_with_the_remedy(tmp_path: Path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RunError, match=r"x\.json: cannot be read as JSON .*; restore it"):
        read_json(tmp_path / "x.json")
    with pytest.raises(RunError, match=r"matrix\.json: is missing; give the command of the run again"):
        read_json(tmp_path / "matrix.json")


def test_matrix_has_finished_rows_and_gaps(tmp_path: Path):
    run = RunDir(tmp_path, ["a", "b"])
    assert [run.folder(index).name for index in range(3)] == ["task_00_zero_shot", "task_01_a", "task_02_b"]
    finished(run, 0, {"a": 10.0, "b": 20.0})
    finished(run, 1, {"a": 60.0})
    content = run.matrix().to_json()
    assert content["rows"] == ["zero_shot", "a", "b"]
    assert content["scores"] == [[10.0, 20.0], [60.0, None], [None, None]]
    assert content["counts"] == [[4, 4], [4, None], [None, None]]


def test_summary_holds_matrix_metrics_costs_and_facts(tmp_path: Path):
    run = RunDir(tmp_path, ["a", "b"])
    for index, scores in enumerate([{"a": 10.0, "b": 20.0}, {"a": 60.0}, {"a": 40.0, "b": 80.0}]):
        assert not run.summary_is_current() or index == 0
        finished(run, index, scores)
    trained(run, 1, 5.0, 100)
    trained(run, 2, 7.0, 90)
    assert not run.summary_is_current()
    run.write_summary({"seed": 3, "notes": ["n"]})
    assert run.summary_is_current()
    content = read_json(tmp_path / "matrix.json")
    assert content["metrics"]["acc"] == 60.0  # (40 + 80) / 2
    assert content["metrics"]["bwt"] == -20.0  # 40 - 60
    assert content["metrics"]["bwt_coin"] == -10.0
    assert (content["seed"], content["notes"]) == (3, ["n"])
    cost = content["cost"]
    assert (cost["train_seconds"], cost["evaluation_seconds"]) == (12.0, 6.0)
    assert (cost["checkpoint_bytes"], cost["peak_memory_bytes"], len(cost["per_task"])) == (100, 200, 2)
    assert read_json(tmp_path / "metrics.json") == content["metrics"]
    assert len((tmp_path / "matrix.csv").read_text().splitlines()) == 4
    assert not list(tmp_path.rglob("*.tmp"))


def test_environment_has_versions_and_machine():
    found = environment({"a": {"train": 1}})
    assert found["versions"]["torch"][0].isdigit()
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["data"] == {"a": {"train": 1}}


def test_two_processes_never_work_in_one_folder(tmp_path: Path) -> None:
    first, second = RunDir(tmp_path, ["a"]), RunDir(tmp_path, ["a"])
    message = "another process is working in this run folder"
    with first.working(), pytest.raises(RunError, match=message), second.working():
        pass
    with second.working():  # free again
        assert (tmp_path / ".lock").exists()


def test_an_evaluated_run_is_opened_by_its_matrix(tmp_path: Path):
    run = RunDir(tmp_path / "run", ["a", "b"], "joint")
    finished(run, 2, {"a": 1.0, "b": 2.0})
    run.write_summary({"seed": 3, "protocol": {"name": "mine"}})
    again = RunDir.open(run.path)
    assert (again.tasks, again.training, again.positions) == (["a", "b"], "joint", [0, 2])
    assert again.facts() == {"seed": 3, "protocol": {"name": "mine"}}


def test_folders_without_a_matrix_are_no_run(tmp_path: Path):
    with pytest.raises(RunError, match="gone: no such folder"):
        RunDir.open(tmp_path / "gone")
    with pytest.raises(RunError, match=r"no matrix\.json; if it is a run, start it again"):
        RunDir.open(tmp_path)
    write_json(tmp_path / "matrix.json", {"tasks": "gqa"})
    with pytest.raises(RunError, match=r"matrix\.json: field 'tasks' is 'gqa'"):
        RunDir.open(tmp_path)
    assert not (tmp_path / "gone").exists()


def test_both_variants_and_differing_rows_are_in_the_summary(tmp_path: Path):
    run = RunDir(tmp_path, ["a"])
    variants = {"corrected": {"scores": {"a": 10.0}}, "reference": {"scores": {"a": 30.0}}}
    content = {"scores": {"a": 10.0}, "counts": {"a": 5}, "seconds": 1.0}
    write_json(run.folder(0) / "scores.json", {**content, "variants": variants, "differing": {"a": 1}})
    run.write_summary({"seed": 0})
    written = read_json(tmp_path / "matrix.json")
    assert written["variants"]["reference"]["scores"] == [[30.0], [None]]
    assert written["differing"] == [[1], [None]]
    assert run.facts() == {"seed": 0}


def test_folders_and_rows_of_a_joint_run(tmp_path: Path):
    run = RunDir(tmp_path, ["a", "b", "c"], "joint")
    assert [run.folder(index).name for index in run.positions] == ["task_00_zero_shot", "task_03_joint"]
    assert [run.previous(index) for index in (0, 3)] == [0, 0]
    finished(run, 0, {"a": 1.0, "b": 2.0, "c": 3.0})
    assert not run.finished()
    finished(run, 3, {"a": 10.0, "b": 20.0, "c": 30.0})
    trained(run, 3, 4.0, 100)
    assert run.finished()
    matrix = run.write_summary({"seed": 0})
    assert matrix.rows == ("zero_shot", "a", "b", "joint")
    written = read_json(tmp_path / "matrix.json")
    assert written["metrics"]["acc"] == 20.0
    assert written["metrics"]["bwt"] is None
    assert written["cost"]["train_seconds"] == 4.0
    assert run.summary_is_current()


def test_positions_of_a_sequence_and_of_nothing(tmp_path: Path):
    assert RunDir(tmp_path, ["a", "b"]).previous(2) == 1
    assert RunDir(tmp_path, ["a", "b"], "nothing").positions == [0]


def test_a_refreshed_summary_keeps_its_facts_and_takes_a_judge_once(tmp_path: Path):
    run = RunDir(tmp_path, ["a"])
    finished(run, 0, {"a": 1.0})
    run.write_summary({"seed": 5, "protocol": {"name": "mine", "judge": None}})
    finished(run, 1, {"a": 2.0})
    run.refresh(judge="seven")
    run.refresh(judge="eight")
    written = read_json(tmp_path / "matrix.json")
    assert written["scores"] == [[1.0], [2.0]]
    assert (written["seed"], written["protocol"]) == (5, {"name": "mine", "judge": "seven"})
