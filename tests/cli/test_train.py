"""The command line: exit status and messages. What a whole run leaves behind is in `tests/integration`."""

import json
import os
import signal
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["adapter.rnk=3"], "error: adapter.rnk: there is no such config key; did you mean adapter.rank"),
        (["method=moelra"], "error: method=moelra: there is no method/moelra.yaml; did you mean moelora"),
        (["+adapter.rnak=3"], "moelora has no such option; did you mean rank"),
        (["scenario.order=[gqa,gqa]"], "error: scenario.order=['gqa', 'gqa']: has gqa more than once"),
        (["adapter.rank=9"], "num_experts"),
        (["protocol.projector=lost"], "error: protocol.projector='lost' is unknown; use one of carried"),
        (["trainer.accelerator=quantum"], "quantum"),
        (
            ["backbone=qwen_vl"],
            "error: backbone.path is not set. Its published files need a conversion first: python -m coin",
        ),
        (["published=coin_radar/llava"], "error: published='coin_radar/llava' names no row; there are coin_matrices"),
        (["protocol.boxes=drawn"], "error: protocol.boxes='drawn' is unknown; use one of converted, as_written"),
        (["protocol.global_batch={gqqa: 4}"], "error: protocol.global_batch names gqqa; the tasks are scienceqa"),
        (
            ["protocol.global_batch={textvqa: 4}"],
            "error: protocol.global_batch={'textvqa': 4} has no number for what is learned: gqa; set protocol.",
        ),
        (
            ["protocol.global_batch={gqa: 4}", "scenario.joint=true"],
            "has no number for what is learned: joint; set protocol.global_batch=N, or +protocol.global_batch.joint=N",
        ),
        (["scenario.joint=true", "scenario.train=false"], "error: scenario.joint=true trains"),
        (
            ["schedule.warmup_ratio=0.5", "+schedule.floor=2.0"],
            "error: gqa: the schedule's highest rate for the adapter",
        ),
        (["experiment=moelora_llava"], "error: experiment: is added with a plus: +experiment=..."),
        (["judge=null"], "a group cannot be null; take another option, e.g. judge=none"),
        (["data.limit_train=10.5"], "error: data.limit_train=10.5: must be a valid integer"),
        (["seed=abc"], 'error: seed="abc": must be a valid integer'),
        (["data.fraction=1.5"], "error: data.fraction=1.5: must be less than or equal to 1"),
        (["+trainer.max_epochs=3"], "error: trainer.max_epochs: cannot be set; use batches.epochs=N"),
        (["+trainer.limit_train_batches=1"], "error: trainer.limit_train_batches: cannot be set; use data.limit"),
        (["optimizer.lr=-1"], "error: optimizer.lr=-1: must be positive, or nothing is learned"),
        (["+optimizer.eps=-1"], "error: optimizer: Invalid epsilon value: -1"),
        (["trainer.accelerator=tpu"], "error: trainer.accelerator=tpu: this machine has none; it has "),
        (["protocol.scorers=strict"], "protocol.scorers=strict: there is no such scorer variant; scienceqa, textvqa"),
        (["evaluation.scorers=strict"], "evaluation.scorers=strict: there is no such scorer variant; scienceqa, "),
        (["callbacks.checkpoint.every_n_steps=0"], "callbacks.checkpoint.every_n_steps=0 must be at least 1"),
    ],
)
def test_a_wrong_config_is_one_message_and_status_one(place, tmp_path: Path, words: list[str], message: str):
    status, text = place.runs.run([*place.command("unused", tasks="gqa"), f"run_dir={tmp_path / 'run'}", *words])
    assert status == 1
    assert message in text
    assert "Traceback" not in text
    assert "Error executing job" not in text
    assert not list(tmp_path.glob("run/task_*/*"))


def test_a_name_of_digits_names_a_run_that_goes_on(place, tmp_path: Path):
    """`experiment_name=20261124` is a number to Hydra; it died behind zero-shot, and on every start after that."""
    command = [word for word in place.command("unused", tasks="gqa") if not word.startswith("run_dir=")]
    command += [f"run_dir={tmp_path}/${{experiment_name}}", "experiment_name=20261124", "+trainer.detect_anomaly=true"]
    status, text = place.runs.run([*command, *place.kill(1, "train", 3)])
    assert status == -signal.SIGKILL, text
    status, text = place.runs.run(command)
    assert status == 0, text
    assert json.loads((tmp_path / "20261124" / "matrix.json").read_text())["experiment"] == "20261124"
    assert place.runs.run(command)[0] == 0


@pytest.mark.parametrize(
    ("key", "named"),
    [("paths.runs", "paths.runs"), ("paths.features", "paths.features"), ("paths.cache", "paths.features")],
)
def test_a_place_that_cannot_be_written_to_is_named(place, tmp_path: Path, key: str, named: str):
    (tmp_path / "file").write_text("no folder")
    own = ("run_dir=", "paths.features=")
    words = [word for word in place.brief("unused") if not word.startswith(own)]
    for wrong in ("file", "file/below"):
        places = {"paths.runs": tmp_path / "runs", "paths.cache": tmp_path / "cache", key: tmp_path / wrong}
        status, text = place.runs.run([*words, *(f"{name}={value}" for name, value in places.items())])
        assert status == 1
        assert "Traceback" not in text
        assert f"{tmp_path}/file" in text
        assert f"{named}=FOLDER" in text
        assert not list(tmp_path.rglob("task_*"))
    places[named] = tmp_path / "elsewhere"  # what the message says
    status, text = place.runs.run([*words, *(f"{name}={value}" for name, value in places.items())])
    assert status == 0, text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_named(place, tmp_path: Path):
    (tmp_path / "shut").mkdir(mode=0o555)
    status, text = place.runs.run([*place.command("unused", tasks="gqa"), f"run_dir={tmp_path}/shut/run"])
    assert status == 1
    assert f"{tmp_path}/shut" in text
    assert "Traceback" not in text


def test_help_explains_the_groups(place):
    status, text = place.runs.run(["train", "--help"])
    assert status == 0
    assert "method: hide_llava, l2p, lora, moelora, olora" in text
    assert "plugin: ewc, replay" in text
    assert "scenario    which tasks" in text


def test_a_finished_run_shows_its_numbers_again_without_a_model(place, undisturbed: Path):
    status, text = place.runs.run(place.command("undisturbed", "evaluation=full"), PAGE="1")
    assert status == 0, text
    assert "Final accuracy (ACC)" in text
    assert "learning" not in text
    assert "answering" not in text


def test_a_page_that_was_removed_is_made_again(place, undisturbed: Path):
    page = undisturbed / "report.html"
    page.unlink()
    assert place.runs.run(place.command("undisturbed", "evaluation=full"), PAGE="1")[0] == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
