"""Three tasks from zero-shot to the report, on the command line: what lies there afterwards, and what happened."""

import json
import re
from itertools import chain, pairwise
from pathlib import Path

import pytest
from peft import PeftModel

import coin_lightning.adapters  # noqa: F401  (PEFT knows MoELoRA from then on)
from coin_lightning.backbones import tiny
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.quiet import quiet_libraries
from made_tasks import made_task

TASKS = ["scienceqa", "textvqa", "imagenet"]
FOLDERS = ["task_00_zero_shot", "task_01_scienceqa", "task_02_textvqa", "task_03_imagenet"]


def read(file: Path):
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def matrix(undisturbed: Path) -> dict:
    return read(undisturbed / "matrix.json")


@pytest.fixture(scope="module")
def recorded(place, undisturbed: Path) -> list[dict]:
    return [read(place.folder / "recorded" / f"{position}.0.json") for position in (1, 2, 3)]


def test_matrix_has_a_row_per_experience_and_every_cell(matrix):
    assert matrix["tasks"] == TASKS
    assert matrix["rows"] == ["zero_shot", *TASKS]
    assert [len(row) for row in matrix["scores"]] == [3, 3, 3, 3]
    assert all(0 <= score <= 100 for row in matrix["scores"] for score in row)
    assert matrix["counts"] == [[4, 4, 4]] * 4
    assert matrix["scores"][1][0] == 100  # its one answer was learned ...
    assert matrix["scores"][3][0] < 100  # ... and forgotten
    assert (matrix["method"], matrix["backbone"], matrix["seed"]) == ("moelora", "tiny", 0)


def test_others_may_read_all_files_alike(undisturbed: Path):
    """A page that a colleague can open goes with weights that he can load."""
    rights = {file.suffix: file.stat().st_mode & 0o777 for file in undisturbed.rglob("*") if file.is_file()}
    assert rights[".safetensors"] == rights[".json"] == rights[".yaml"]


def test_metrics_are_those_of_the_matrix(matrix, undisturbed: Path):
    scores = matrix["scores"]
    changes = [scores[3][0] - scores[1][0], scores[3][1] - scores[2][1]]
    metrics = matrix["metrics"]
    assert metrics["acc"] == pytest.approx(sum(scores[3]) / 3)
    assert metrics["learning_accuracy"] == pytest.approx((scores[1][0] + scores[2][1] + scores[3][2]) / 3)
    assert metrics["bwt"] == pytest.approx(sum(changes) / 2)
    assert metrics["bwt_coin"] == pytest.approx(sum(changes) / 3)
    assert read(undisturbed / "metrics.json") == metrics


def test_scores_of_the_folders_are_the_rows(matrix, undisturbed: Path):
    for row, folder in enumerate(FOLDERS):
        found = read(undisturbed / folder / "scores.json")
        assert found["experience"] == row
        assert [found["scores"][task] for task in TASKS] == matrix["scores"][row]
        assert found["answers"] == 12


def test_every_artefact_is_there(undisturbed: Path):
    top = {"config.yaml", "environment.json", "matrix.json", "matrix.csv", "metrics.json", "report.html"}
    assert top <= {file.name for file in undisturbed.iterdir()}
    assert len(list((undisturbed / "figures").glob("*.png"))) >= 3
    for folder in FOLDERS:
        assert {file.stem for file in (undisturbed / folder / "records").glob("*.jsonl")} == set(TASKS)
        assert [len(file.read_text().splitlines()) for file in (undisturbed / folder / "records").iterdir()] == [4] * 3
        assert (undisturbed / folder / "router.json").exists()
    for folder in FOLDERS[1:]:
        assert {"train.json", "method_state.safetensors"} <= {file.name for file in (undisturbed / folder).iterdir()}
        files = {file.name for file in (undisturbed / folder / "adapter").iterdir()}
        assert {"adapter_config.json", "adapter_model.safetensors"} <= files
    left = [file for file in undisturbed.rglob("*") if file.name in ("last.ckpt", ".partial") or "tmp" in file.name]
    assert left == []


def test_cost_counts_what_was_learned(undisturbed: Path, recorded):
    for folder, seen in zip(FOLDERS[1:], recorded, strict=True):
        trained = read(undisturbed / folder / "train.json")
        assert (trained["steps"], trained["samples"]) == (10, 40)
        assert trained["loss_first"] != trained["loss_last"]
        assert trained["checkpoint_bytes"] < 200_000
        assert len(seen["trainable"]) == 14 * 3 + 4  # A, B and router of 14 layers; two layers of the projector


def test_pages_on_the_way_draw_no_files(recorded, undisturbed: Path):
    """The page of the row before is there when a task starts; matplotlib's renderers come with the last page."""
    assert [(seen["drawing"], seen["figures"]) for seen in recorded] == [([], [])] * 3
    assert {"matrix.png", "forgetting_curves.png"} <= {file.name for file in (undisturbed / "figures").iterdir()}


def test_each_epoch_sees_every_row_once_in_its_own_order(recorded):
    for seen, task in zip(recorded, TASKS, strict=True):
        epochs = [[id_ for batch in part for id_ in batch] for part in (seen["batches"][:5], seen["batches"][5:])]
        assert [sorted(epoch) for epoch in epochs] == [sorted(f"{task}_{number}" for number in range(20))] * 2
        assert epochs[0] != epochs[1]


def test_nothing_but_loop_and_progress_lives_longer_than_a_task(recorded):
    shared = set.intersection(*({tuple(each) for each in seen["objects"]} for seen in recorded))
    assert {name for name, _ in shared} == {"ContinualLoop", "SequenceProgress"}
    assert {"Trainer", "TaskCheckpoint", "AdamW"} <= {name for name, _ in recorded[0]["objects"]}


def test_rate_falls_to_nothing_within_each_task(recorded):
    for seen in recorded:
        rates = [step[0] for step in seen["rates"]]
        assert len(rates) == 10
        assert max(rates) == pytest.approx(5e-2, rel=0.6)
        assert rates[-1] < 0.05 * max(rates)


def test_exactly_the_trainable_weights_moved_in_every_task(recorded):
    for seen in recorded:
        moved = {name for name, value in seen["before"].items() if seen["after"][name] != value}
        assert moved == set(seen["trainable"])


def test_each_task_goes_on_with_the_weights_before(recorded):
    for before, after in pairwise(recorded):
        assert after["before"] == before["after"]


def test_saved_adapter_gives_the_same_answers(place, undisturbed: Path):
    quiet_libraries()
    backbone = tiny.load()
    peft = PeftModel.from_pretrained(backbone.model, str(undisturbed / FOLDERS[1] / "adapter"))
    backbone.model = peft.base_model.model
    task = made_task("imagenet", place.suite, "ImageNet", place.cache)
    task.connect(backbone)
    task.read()
    answers = {}
    for batch in task.answer_loader():
        images = backbone.project(batch["features"], [*chain(*batch["grids"])])
        texts = backbone.answer(batch["input_ids"], batch["attention_mask"], 16, images)
        answers |= dict(zip(batch["ids"], texts, strict=True))
    lines = (undisturbed / FOLDERS[1] / "records" / "imagenet.jsonl").read_text().splitlines()
    assert answers == {record["question_id"]: record["prediction"] for record in map(json.loads, lines)}
    assert any(answers.values())


def test_second_run_loads_nothing_and_changes_nothing(place, undisturbed: Path):
    def state():
        files = [file for file in undisturbed.rglob("*") if file.is_file()]
        return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    before = state()
    status, text = place.runs.run(place.command("undisturbed", "evaluation=full", *place.record("recorded")), PAGE="1")
    assert status == 0, text
    assert state() == before
    assert "report.html" in "".join(text.split())  # a long path is folded
    assert "tasks " in text
    assert "answering" not in text


def test_terminal_shows_progress_and_rows_and_no_library_noise(place, undisturbed: Path):
    text = (place.folder / "undisturbed.txt").read_text()
    assert "[2/3] textvqa learning 10/10, loss" in text  # two passes of five steps, as the plan counts them
    assert "learning 5/5" not in text
    assert len(re.findall(r"^ zero-shot", text, re.MULTILINE)) == 5  # after each experience, and at the end
    assert "Final accuracy (ACC)" in text
    for noise in ("Warning", "warn", "site-packages", "deprecated", "weights_only", "eval mode", "GPU", "Seed set"):
        assert noise not in text


def test_config_and_environment_say_what_ran(place, undisturbed: Path):
    environment = read(undisturbed / "environment.json")
    assert set(environment) == {"versions", "git", "machine", "data", "model"}
    assert environment["model"].keys() == {"precision", "dtype", "fingerprint"}
    assert (environment["model"]["precision"], environment["model"]["dtype"]) == ("32-true", "float32")
    assert environment["data"]["textvqa"]["train"] == 20
    hashed = {"train.json", "val.json", "TextVQA/TextVQA_0.5.1_val.json"}  # the last one has the annotators' answers
    assert set(environment["data"]["textvqa"]["sha256"]) == hashed
    assert RunDir(undisturbed, TASKS).summary_is_current()
    assert "num_experts: 8" in (undisturbed / "config.yaml").read_text()
