"""`runs`: real runs that are finished, killed, failed and foreign; started again, and freed of what nothing needs."""

import io
import json
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from coin_lightning.cli.runs import main as runs
from coin_lightning.cli.runs_table import runs_table
from coin_lightning.reporting.wandb_history import OPEN
from coin_lightning.results import describe
from coin_lightning.trust import sign
from results import results

FAIL = ["+callbacks.fail._target_=probes.FailAt", "+callbacks.fail.step=3"]


@pytest.fixture(scope="module")
def folder(place) -> Path:
    """A finished run, one killed in its second task, one that failed in its first."""
    place_of = place.folder / "many"
    for name, more, status in (
        ("finished", [], 0), ("killed", place.kill(2, "train", 3), -signal.SIGKILL), ("failed", FAIL, 1),
    ):  # fmt: skip
        ended, text = place.runs.run([*place.brief(f"many/{name}", *more, tasks="gqa,vqav2"), "batches.size=2"])
        assert ended == status, text
    (place_of / "notes").mkdir()
    (place_of / "notes" / "config.yaml").write_text("a: [")
    return place_of


def shown(capsys, *words: str) -> str:
    assert runs(list(words)) == 0
    return capsys.readouterr().out


def test_each_run_has_its_state_and_failures_their_reason(folder: Path, capsys):
    text = shown(capsys, str(folder))
    lines = text.splitlines()
    states = {
        name: next(line for line in lines if line.split()[:1] == [number])
        for number, name in ((line.split()[0], Path(line.split()[1]).name) for line in lines if len(line.split()) == 2)
    }
    assert "finished" in states["finished"]
    assert "stopped, 2/3 in task_02_vqav2" in states["killed"]
    assert "failed, 1/3" in states["failed"]
    assert "foreign" in states["notes"]
    assert f"{folder / 'failed'}: ZeroDivisionError: a bug in a callback" in text
    assert "cannot be read, so nobody knows what was run here" in text


def test_the_heading_of_seeds_is_whole_however_narrow_the_terminal(folder: Path):
    out = io.StringIO()
    keys = [f"adapter.{'wide' * 5}_{number}" for number in range(3)]
    Console(file=out, width=80).print(runs_table([describe(folder / "finished")], keys))
    assert "seed" in out.getvalue().splitlines()[1].split()


def test_a_run_that_is_worked_on_is_told_apart(folder: Path, capsys):
    with FileLock(folder / "killed" / ".lock"):
        assert "working, 2/3" in shown(capsys, str(folder / "killed"))


def test_failed_and_stopped_runs_are_started_again_with_their_own_commands(
    place, folder: Path, tmp_path: Path, monkeypatch
):
    """The first had a bug that is mended since; the other one was killed. Both end as if nothing had happened, and find
    the code of the folder where their command was given.
    """
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(place.folder / "cache"))
    copy = Path(shutil.copytree(folder, tmp_path / "many"))
    (tmp_path / "own_code.py").write_text("from lightning import Callback\n\n\nclass Own(Callback): pass\n")
    for name in ("killed", "failed"):
        file = copy / name / "command.json"
        kept = json.loads(file.read_text())
        words = [word for word in kept["arguments"] if "callbacks." not in word and "run_dir=" not in word]
        words += ["+callbacks.own._target_=own_code.Own", f"run_dir={copy / name}"]
        file.write_text(json.dumps({"arguments": words, "folder": str(tmp_path)}))
    trusts = {"COIN_LIGHTNING_TRUST": "probes,own_code"}
    status, text = place.runs.run(["runs", str(copy), "--rerun-failed"], **trusts)
    assert status == 1
    assert text.count("nobody knows its command (command.json was not written by you on this machine)") == 2
    assert "again: " not in text
    for name in ("killed", "failed"):
        sign(copy / name / "command.json")
    status, text = place.runs.run(["runs", str(copy), "--rerun-failed"], **trusts)
    assert status == 0, text
    assert text.count("again: ") == 2
    for name in ("killed", "failed"):
        assert results(copy / name) == results(copy / "finished")
        assert not (copy / name / "failed.json").exists()


def test_a_signal_reaches_the_run_that_is_started_again(place, folder: Path, tmp_path: Path, monkeypatch):
    """It saves and ends, and so does the command; the next run is not begun."""
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(place.folder / "cache"))
    copy = Path(shutil.copytree(folder, tmp_path / "many"))
    for name in ("killed", "failed"):
        file = copy / name / "command.json"
        kept = json.loads(file.read_text())
        words = [word for word in kept["arguments"] if "callbacks." not in word and "run_dir=" not in word]
        words += [FAIL[0], "+callbacks.fail.step=2", "+callbacks.fail.signal_sweep=true"]
        file.write_text(json.dumps({"arguments": [*words, f"run_dir={copy / name}"], "folder": str(tmp_path)}))
        sign(file)
    status, text = place.runs.run(["runs", str(copy), "--rerun-failed"], COIN_LIGHTNING_TRUST="probes")
    assert status == 143, text
    assert text.count("again: ") == 1
    assert "stopped by SIGTERM" in text
    stopped = [file for name in ("killed", "failed") for file in (copy / name).rglob("last.ckpt")]
    assert stopped


def test_pruning_says_first_and_removes_what_no_result_needs(folder: Path, tmp_path: Path, capsys):
    copy = Path(shutil.copytree(folder, tmp_path / "many"))
    before = {file for file in copy.rglob("*") if file.is_file()}
    text = shown(capsys, str(copy), "--prune")
    assert "would be freed; add --yes to remove it" in text
    assert {file for file in copy.rglob("*") if file.is_file()} == before
    with FileLock(copy / "finished" / ".lock"):  # an evaluation is about to load them
        assert "another process is working in this run folder" in shown(capsys, str(copy), "--prune", "--yes")
    assert {file for file in copy.rglob("*") if file.is_file()} == before
    unfinished = copy / "finished" / "logs" / OPEN
    unfinished.parent.mkdir(exist_ok=True)
    unfinished.touch()
    assert "W&B has not got all of it yet" in shown(capsys, str(copy), "--prune", "--yes")
    unfinished.unlink()
    offline = copy / "finished" / "logs" / "wandb" / "offline-run-1" / "run-1.wandb"
    offline.parent.mkdir(parents=True)
    offline.touch()
    assert "W&B has not got its adapters yet" in shown(capsys, str(copy), "--prune", "--yes")
    assert before < {file for file in copy.rglob("*") if file.is_file()}
    offline.with_name("run-1.wandb.synced").touch()
    assert "freed" in shown(capsys, str(copy), "--prune", "--yes")
    gone = before - {file for file in copy.rglob("*") if file.is_file()}
    assert gone
    assert {file.relative_to(copy).parts[:2] for file in gone} == {("finished", "task_01_gqa")}
    assert {file.relative_to(copy).parts[2] for file in gone} == {"adapter", "method_state.safetensors"}
    assert "nothing to remove" in shown(capsys, str(copy), "--prune")
    assert "finished" in shown(capsys, str(copy / "finished"))


@pytest.mark.parametrize(
    ("words", "told"),
    [(["nowhere"], "nowhere: no such folder"), (["--yes", "."], "--yes goes with --prune")],
)
def test_wrong_words_are_one_line(words: list[str], told: str, capsys):
    assert runs(words) == 1
    assert told in capsys.readouterr().err
